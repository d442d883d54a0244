//! The AMQP bus on a real RabbitMQ: the suite every bus passes, and what only a broker can do to us.

mod clients;
mod conformance;
mod limits;
mod logins;
mod storm;
