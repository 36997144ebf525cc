//! Commands as messages name them: they work as they are when somebody pastes them.

use tradewind_core::names::Namespace;

/// A command about something of a namespace, in backticks. `words`: what follows `tradewind`.
pub fn command(namespace: &Namespace, words: &str) -> String {
    if *namespace == Namespace::default_namespace() {
        format!("`tradewind {words}`")
    } else {
        format!("`tradewind -n {namespace} {words}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_namespace_where_it_is_not_the_default() {
        let of = |namespace: &str| command(&namespace.parse().unwrap(), "logs web");
        assert_eq!(of("default"), "`tradewind logs web`");
        assert_eq!(of("team"), "`tradewind -n team logs web`");
    }
}
