//! The own devices.

use serde::Serialize;

use super::time::rfc3339;
use crate::OwnDevice;

/// `devices`, `devices rename`, `unlink`.
#[derive(Serialize)]
pub struct DeviceLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    name: &'a str,
    this: bool,
    added_at: Option<String>,
}

pub fn device<'a>(kind: &'static str, device: &'a OwnDevice) -> DeviceLine<'a> {
    DeviceLine {
        kind,
        id: device.id.to_string(),
        name: &device.name,
        this: device.is_this,
        added_at: device.added.map(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;
    use crate::{DeviceId, Timestamp};

    #[test]
    fn a_device_line() {
        let phone =
            OwnDevice { id: DeviceId([1; 16]), name: "phone".into(), is_this: false, added: Some(Timestamp(0)) };
        let expected = concat!(
            r#"{"type":"device","id":"01010101010101010101010101010101","name":"phone","this":false,"#,
            r#""added_at":"1970-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(line(&device("device", &phone)), expected);
    }
}
