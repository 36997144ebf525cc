//! Reads where the next page of a list is out of the header `Link` (RFC 8288). Of the address only its cursor is used: a page that lay
//! elsewhere would be asked for with a token that is none of its business.

use url::form_urlencoded;

use tradewind_api::CURSOR;

/// The cursor in the link with the relation `next`.
pub(super) fn next(header: &str) -> Option<String> {
    let (target, parameters) = header.trim_start().strip_prefix('<')?.split_once('>')?;
    let mut parameters = parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='));
    let is_next = parameters
        .any(|(name, value)| name.eq_ignore_ascii_case("rel") && value.trim_matches('"') == "next");
    let (_, query) = target.split_once('?').filter(|_| is_next)?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == CURSOR)
        .map(|(_, cursor)| cursor.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let cases = [
            (
                "</v1/deployments?limit=2&cursor=bmV3>; rel=\"next\"",
                Some("bmV3"),
            ),
            (
                "<https://elsewhere.example/?cursor=a%2Db>;rel=next",
                Some("a-b"),
            ),
            ("</v1/deployments?cursor=bmV3>; rel=\"prev\"", None),
            ("</v1/deployments>; rel=\"next\"", None),
            ("nonsense", None),
        ];
        for (header, cursor) in cases {
            assert_eq!(next(header).as_deref(), cursor, "{header}");
        }
    }
}
