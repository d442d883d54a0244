//! What stands in the properties of a message besides its body: its id, how often it was delivered, and on a dead
//! letter why it is there. Messages may come from any AMQP client, so nothing here is taken for granted.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use crate::bus::{bounded_reason, delivery_limit_reason};

const REASON: &str = "x-reason";
const ORIGIN: &str = "x-origin";

pub(super) fn of_dead_letter(reason: &str, origin: &str) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(REASON.into(), AMQPValue::LongString(bounded_reason(reason).into()));
    headers.insert(ORIGIN.into(), AMQPValue::LongString(origin.into()));
    headers
}

/// A client that gives no id means a new message each time; one that gives some other id than a UUID means that one.
pub(super) fn id(properties: &BasicProperties) -> Uuid {
    match properties.message_id() {
        Some(id) => {
            id.as_str().parse().unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_str().as_bytes()))
        }
        None => Uuid::new_v4(),
    }
}

/// Which delivery of the message this is, from 1.
pub(super) fn attempt(properties: &BasicProperties, redelivered: bool) -> u32 {
    let before = match get(properties, "x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
        Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
        Some(AMQPValue::ShortInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortShortInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongUInt(count)) => *count,
        Some(AMQPValue::ShortShortUInt(count)) => u32::from(*count),
        _ => u32::from(redelivered),
    };
    before.saturating_add(1)
}

/// The queue a dead letter came from.
pub(super) fn origin(properties: &BasicProperties) -> Option<String> {
    text(properties, ORIGIN).or_else(|| text(properties, "x-first-death-queue"))
}

/// Why a dead letter is one: our reason, else the broker's in words.
pub(super) fn reason(properties: &BasicProperties) -> Option<String> {
    if let Some(reason) = text(properties, REASON) {
        return Some(reason);
    }
    let origin = origin(properties).unwrap_or_else(|| "unknown queue".into());
    match text(properties, "x-first-death-reason")?.as_str() {
        "delivery_limit" => Some(delivery_limit_reason(&origin)),
        other => Some(format!("the broker removed it from `{origin}`: {other}")),
    }
}

fn get<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// Text of whatever string type its sender used.
fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match get(properties, name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_no_uuid_is_the_same_message_each_time() {
        let properties = BasicProperties::default().with_message_id("order-7".into());
        assert_eq!(id(&properties), id(&properties));
        assert_ne!(id(&BasicProperties::default()), id(&BasicProperties::default()));
        let given = Uuid::new_v4();
        assert_eq!(id(&BasicProperties::default().with_message_id(given.to_string().into())), given);
    }

    #[test]
    fn a_message_without_a_count_is_at_its_first_or_second_delivery() {
        assert_eq!(attempt(&BasicProperties::default(), false), 1);
        assert_eq!(attempt(&BasicProperties::default(), true), 2);
    }

    #[test]
    fn a_dead_letter_of_ours_tells_our_reason() {
        let properties =
            BasicProperties::default().with_headers(of_dead_letter("not JSON", "fluidcloud.requests"));
        assert_eq!(reason(&properties).as_deref(), Some("not JSON"));
        assert_eq!(origin(&properties).as_deref(), Some("fluidcloud.requests"));
        assert_eq!(reason(&BasicProperties::default()), None);
    }
}
