//! Patterns of names in grants.

/// Whether a pattern means a name. A pattern without `*` means itself, `*` alone anything; elsewhere `*` stands for any characters of one
/// segment between slashes.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (pattern, name): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), name.split('/').collect());
    pattern.len() == name.len()
        && pattern
            .iter()
            .zip(&name)
            .all(|(p, n)| segment_matches(p, n))
}

/// Whether a grant of paths lets a path be mounted. Each pattern means itself alone, not what lies below: who may write to a folder may put a
/// link where a folder below it was, and the mount would follow the link. For the same reason a path is not granted where one above it is, too.
/// `/` and `*` grant every path.
pub fn mounts<'p>(patterns: impl Iterator<Item = &'p str> + Clone, path: &str) -> bool {
    let is_granted = |path: &str| {
        patterns
            .clone()
            .any(|pattern| matches(untrailed(pattern), path))
    };
    if patterns.clone().any(|pattern| matches!(pattern, "/" | "*")) {
        return true;
    }
    let path = untrailed(path);
    let mut above = path
        .match_indices('/')
        .filter_map(|(at, _)| path.get(..at))
        .filter(|above| !above.is_empty());
    is_granted(path) && !above.any(is_granted)
}

/// Two of these patterns of paths of which the first may mean a folder above what the second means. `/` and `*`, which grant every path, are
/// above none.
pub fn nested<'p>(patterns: impl Iterator<Item = &'p str> + Clone) -> Option<(&'p str, &'p str)> {
    let segments = |pattern: &'p str| untrailed(pattern).split('/').collect::<Vec<_>>();
    let both = |a: &str, b: &str| {
        segment_matches(a, b) || segment_matches(b, a) || (a.contains('*') && b.contains('*'))
    };
    let is_above = |above: &'p str, below: &'p str| {
        let (above, below) = (segments(above), segments(below));
        above.len() < below.len() && above.iter().zip(&below).all(|(a, b)| both(a, b))
    };
    let plain = patterns.filter(|pattern| !matches!(*pattern, "/" | "*"));
    plain.clone().find_map(|above| {
        plain
            .clone()
            .find(|below| is_above(above, below))
            .map(|below| (above, below))
    })
}

fn untrailed(path: &str) -> &str {
    if path.len() > 1 {
        path.trim_end_matches('/')
    } else {
        path
    }
}

fn segment_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_grant_what_they_say_and_no_more() {
        for (pattern, name) in [
            ("*", "/any/thing"),
            ("python3", "python3"),
            ("python*", "python3.11"),
            ("/usr/bin/*", "/usr/bin/env"),
            ("/opt/*/bin/run-*", "/opt/a/bin/run-me"),
            ("*a*b*", "xxaxxbxx"),
            (
                "registry.example.com/team/*",
                "registry.example.com/team/web:4.2",
            ),
            ("t3.*", "t3.micro"),
            ("*.large", "m5.large"),
            ("m*.2x*", "m6i.2xlarge"),
            ("*", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("python3", "/tmp/python3"),
            ("python3", "python"),
            ("python*", "/tmp/python3"),
            ("/usr/bin/*", "/usr/bin/x/y"),
            ("/usr/bin/*", "env"),
            ("a*a", "a"),
            ("", "x"),
            ("t3.*", "t3a.micro"),
            ("*.large", "m5.xlarge"),
            ("ami-1", "ami-12"),
            (
                "registry.example.com/team/*",
                "registry.example.com/other/web",
            ),
            (
                "registry.example.com/team/*",
                "evil.example.com/registry.example.com/team/web",
            ),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_may_be_mounted_where_nobody_may_write_above_it() {
        let mounts = |patterns: &[&str], path: &str| super::mounts(patterns.iter().copied(), path);
        for (patterns, path) in [
            (&["/srv/data"][..], "/srv/data"),
            (&["/srv/data/"], "/srv/data"),
            (&["/srv/data"], "/srv/data/"),
            (&["/srv/*"], "/srv/shop"),
            (&["/"], "/srv/data"),
            (&["/"], "/"),
            (&["*"], "/any/thing"),
        ] {
            assert!(mounts(patterns, path), "{patterns:?} {path}");
        }
        for (patterns, path) in [
            (&["/srv/data"][..], "/srv/data/link"),
            (&["/srv/data"], "/srv"),
            (&["/srv/data"], "/srv/datax"),
            (&["/srv/*"], "/srv/shop/link"),
            (&["/srv/*", "/srv/shop/link"], "/srv/shop/link"),
            (&["/srv", "/srv/data"], "/srv/data"),
            (&[], "/"),
        ] {
            assert!(!mounts(patterns, path), "{patterns:?} {path}");
        }
    }

    #[test]
    fn granted_paths_that_lie_below_each_other_are_found() {
        let nested = |patterns: &[&'static str]| super::nested(patterns.iter().copied());
        assert_eq!(nested(&["/srv/shop", "/srv"]), Some(("/srv", "/srv/shop")));
        assert_eq!(
            nested(&["/srv/*/data", "/srv/shop"]),
            Some(("/srv/shop", "/srv/*/data"))
        );
        assert_eq!(
            nested(&["/srv/*", "/srv/shop/data"]),
            Some(("/srv/*", "/srv/shop/data"))
        );
        for apart in [
            &["/srv/a", "/srv/b"][..],
            &["/srv/a*", "/srv/b/c"],
            &["/", "/srv"],
            &["*", "/srv", "/var"],
            &["/srv", "/srvx/a"],
        ] {
            assert_eq!(nested(apart), None, "{apart:?}");
        }
    }
}
