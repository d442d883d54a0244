//! Typed messages over a [`Bus`]: serialised on the way out, checked on the way in. What does not parse goes to the
//! dead-letter queue with the reason and is never half-applied.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bus, Delivery, Error, Message, Queue, Subscription};
use crate::event::Notice;

/// A parsed message with the delivery it came in, still to be settled.
#[derive(Debug)]
pub struct Received<T> {
    pub body: T,
    pub delivery: Delivery,
}

/// Publishes one command, event or task to the queue that takes its type.
pub async fn publish_command<T: Serialize + Sync>(
    bus: &dyn Bus,
    queue: &Queue,
    body: &T,
) -> Result<(), Error> {
    bus.publish(queue, Message::new(encode(body)?)).await
}

pub async fn publish_notice(bus: &dyn Bus, notice: &Notice) -> Result<(), Error> {
    bus.notify(Message::new(encode(notice)?)).await
}

/// The next message of the queue that parses as `T`; what does not is rejected on the way. Cancel-safe: a message
/// in the middle of a rejection is delivered again.
pub async fn receive<T: DeserializeOwned>(subscription: &mut Subscription) -> Option<Received<T>> {
    loop {
        let delivery = subscription.next().await?;
        match serde_json::from_slice(&delivery.message.body) {
            Ok(body) => return Some(Received { body, delivery }),
            Err(error) => {
                let reason = format!("not a {}: {error}", std::any::type_name::<T>());
                tracing::warn!(message = %delivery.message.id, %reason, "message goes to the dead-letter queue");
                if let Err(error) = delivery.reject(&reason).await {
                    tracing::warn!(%error, "could not reject; it will be delivered again");
                }
            }
        }
    }
}

fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|error| Error::Invalid(error.to_string()))
}
