//! Amounts of money as people read them: two decimals, up to four where the amount is small. Programs get them whole.

use tradewind_core::units::MicroUsd;

/// `$0.08`, `$0.0125`, `$131.40`, `<$0.0001`.
pub(crate) fn money(amount: MicroUsd) -> String {
    amount.brief()
}

/// An amount that may be below zero, with its sign. Zero has none.
pub(crate) fn signed(micros: i64) -> String {
    let amount = money(MicroUsd(micros.unsigned_abs()));
    match micros.signum() {
        -1 => format!("-{amount}"),
        1 => format!("+{amount}"),
        _ => amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_to_four_decimals() {
        for (micros, text) in [
            (0, "$0.00"),
            (1, "<$0.0001"),
            (100, "$0.0001"),
            (79_999, "$0.08"),
            (12_500, "$0.0125"),
            (12_345, "$0.0123"),
            (131_400_000, "$131.40"),
            (214_274_665, "$214.27"),
            (99_999_999, "$100.00"),
        ] {
            assert_eq!(money(MicroUsd(micros)), text);
        }
        assert_eq!(
            [signed(-40_000), signed(0), signed(1_500_000)],
            ["-$0.04", "$0.00", "+$1.50"]
        );
        assert!(!money(MicroUsd::MAX).is_empty());
    }
}
