//! The control API, below `/control`: the script, the ledger, the counters, and what happens to the cloud by itself.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{api::read, config::Lag, error::Error, faults::Fault, ledger::Cloud};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Up {
    up: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Status {
    status: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Quota {
    quota: Option<u32>,
}

pub(crate) fn answer(
    cloud: &mut Cloud,
    method: &str,
    path: &[&str],
    body: &[u8],
) -> Result<(u16, Value), Error> {
    match (method, path) {
        ("GET", ["ledger"]) => return Ok((200, json!(cloud.ledger().collect::<Vec<_>>()))),
        ("GET", ["counters"]) => return Ok((200, json!(cloud.calls()))),
        ("POST", ["faults"]) => cloud.add_fault(read::<Fault>(body)?),
        ("PUT", ["faults"]) => {
            let faults: Vec<Fault> = read(body)?;
            cloud.clear_faults();
            faults.into_iter().for_each(|fault| cloud.add_fault(fault));
        }
        ("DELETE", ["faults"]) => cloud.clear_faults(),
        ("DELETE", ["instances", id]) => found(cloud.disappear(id), id)?,
        ("PUT", ["instances", id, "status"]) => {
            found(cloud.set_status(id, read::<Status>(body)?.status), id)?
        }
        ("PUT", ["regions", region]) => cloud.set_region(region, read::<Up>(body)?.up),
        ("PUT", ["stock", region, size]) => {
            let stock = read(body)?;
            cloud.set_stock(region, size, |here| *here = stock);
        }
        ("PUT", ["quota"]) => cloud.set_quota(read::<Quota>(body)?.quota),
        ("PUT", ["lag"]) => cloud.set_lag(read::<Lag>(body)?),
        _ => {
            return Err(Error::new(
                404,
                "NotFound",
                "the control API has no such operation",
            ));
        }
    }
    Ok((200, json!({})))
}

fn found(found: bool, id: &str) -> Result<(), Error> {
    if found {
        Ok(())
    } else {
        Err(Error::not_found("instance", id))
    }
}
