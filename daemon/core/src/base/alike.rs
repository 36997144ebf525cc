//! Names that were mistyped: which of those that exist may have been meant.

/// The name that is most like a text, if it may be that with a typing mistake.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(128).collect::<String>().to_lowercase();
    known
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&text, &name.to_lowercase());
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_found_and_another_is_not() {
        let known = ["aws", "aws/eu-west-1", "aws/us-east-1", "onprem"];
        for (text, wanted) in [
            ("aws/eu-wset-1", Some("aws/eu-west-1")),
            ("OnPrem", Some("onprem")),
            ("awd", Some("aws")),
            ("gcp/europe-west1", None),
        ] {
            assert_eq!(nearest(text, known), wanted, "{text}");
        }
    }
}
