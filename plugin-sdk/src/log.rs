//! Log lines for the operator. The host adds the plugin's name, digest and call. In tests they go to standard error.

pub use crate::bindings::provider::tradewind::plugin::log::Level;

/// Writes one line. The macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and [`error!`](crate::error) are handier.
pub fn write(level: Level, message: &str, fields: &[(&str, String)]) {
    #[cfg(target_family = "wasm")]
    {
        use crate::bindings::provider::tradewind::plugin::{log, types::Entry};
        let fields: Vec<Entry> = fields
            .iter()
            .map(|(key, value)| Entry {
                key: (*key).to_owned(),
                value: value.clone(),
            })
            .collect();
        log::write(level, message, &fields);
    }
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message} {fields:?}");
}

/// Makes a panic tell its place and message before the call traps. Called by the register macros.
#[doc(hidden)]
pub fn install_panic_hook() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|info| {
        let text = info
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let text = text
            .or_else(|| info.payload().downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let place = info
            .location()
            .map(|place| ("at", format!("{}:{}", place.file(), place.line())));
        write(
            Level::Error,
            &format!("the plugin panicked: {text}"),
            place.as_slice(),
        );
    }));
}

/// Logs a line for debugging: `debug!("asking again"; region = name)`. Everything before `;` is a format string with its arguments.
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::__log!($crate::log::Level::Debug, [] $($line)+) };
}

/// Logs a line: `info!("started {count} replicas"; region = name)`.
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::__log!($crate::log::Level::Info, [] $($line)+) };
}

/// Logs a line about something odd that does no harm.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::__log!($crate::log::Level::Warn, [] $($line)+) };
}

/// Logs a line about something that went wrong.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::__log!($crate::log::Level::Error, [] $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:expr, [$($text:tt)*] ; $($key:ident = $value:expr),+ $(,)?) => {
        $crate::log::write($level, &::std::format!($($text)*), &[$((::core::stringify!($key), ::std::string::ToString::to_string(&$value))),+])
    };
    ($level:expr, [$($text:tt)*] $next:tt $($rest:tt)*) => { $crate::__log!($level, [$($text)* $next] $($rest)*) };
    ($level:expr, [$($text:tt)*]) => { $crate::log::write($level, &::std::format!($($text)*), &[]) };
}
