//! A plugin instance's settings, from the JSON the host hands over to the author's own type.

use serde::de::DeserializeOwned;

use crate::Error;

/// Reads the settings. Absent settings are an empty object, so that types whose fields all have defaults need none.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    serde_json::from_str(json).map_err(|error| Error::invalid(format!("the settings don't fit: {error}")).field("settings"))
}
