//! Quantities as Kubernetes writes them: `250m`, `1.5`, `512Mi`, `1e3`.

/// Decimal and binary suffixes with their factors, the longer ones first.
const UNITS: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The value times a factor, rounded up; 0 for what is no quantity.
fn scaled(text: &str, factor: f64) -> u64 {
    // `1e3` and `1E3` are numbers; a bare `E` at the end is a unit.
    if let Ok(plain) = text.parse::<f64>() {
        return (plain.max(0.0) * factor).ceil() as u64;
    }
    let unit = UNITS
        .iter()
        .find_map(|(unit, of)| text.strip_suffix(unit).map(|number| (number, of)));
    let value = unit.and_then(|(number, of)| number.parse::<f64>().ok().map(|number| number * of));
    (value.unwrap_or(0.0).max(0.0) * factor).ceil() as u64
}

/// Millicores.
pub(crate) fn millicores(text: &str) -> u64 {
    scaled(text, 1000.0)
}

/// Bytes, or a count.
pub(crate) fn whole(text: &str) -> u64 {
    scaled(text, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_cluster_means_them() {
        for (text, milli) in [
            ("250m", 250),
            ("2", 2000),
            ("1.5", 1500),
            ("0.1", 100),
            ("100u", 1),
            ("", 0),
            ("x", 0),
            ("-1", 0),
        ] {
            assert_eq!(millicores(text), milli, "{text}");
        }
        for (text, bytes) in [
            ("128974848", 128_974_848),
            ("1e3", 1000),
            ("512Mi", 512 << 20),
            ("1G", 1_000_000_000),
            ("1.5Gi", 3 << 29),
            ("1E", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(whole(text), bytes, "{text}");
        }
    }
}
