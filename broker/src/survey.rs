//! What each provider says of itself, asked in the background and remembered: a provider that hangs delays nobody.
//! One question is under way per provider at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::offer::{Need, Offer};
use fluidcloud_proto::status::{Capacity, ProviderStatus};
use fluidcloud_providers::{Provider, ProviderConfig, Registry};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::selection::{Facts, offers};

/// Between two questions to a provider.
pub const ASK_EVERY: Duration = Duration::from_secs(15);
/// How long an answer may take before the provider counts as unreachable.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The offers a broker would make, without one: for previews.
pub async fn offers_now(registry: &Registry, configs: &[ProviderConfig], need: &Need) -> Vec<Offer> {
    let survey = Survey::new(registry, configs);
    let asked = survey.asked(need.fixed.as_ref()).map(|one| async { one.facts(one.ask().await.capacity) });
    offers(need, &futures::future::join_all(asked).await)
}

/// All configured providers, in the order of the configuration.
#[derive(Debug)]
pub struct Survey {
    providers: Vec<Surveyed>,
}

#[derive(Debug)]
struct Surveyed {
    provider: Arc<dyn Provider>,
    region: Option<String>,
    labels: BTreeMap<String, String>,
    ask_now: Notify,
    answer: watch::Sender<Option<Answer>>,
}

#[derive(Clone, Debug)]
struct Answer {
    capacity: Result<Capacity, Failure>,
    instances: u64,
}

impl Survey {
    pub fn new(registry: &Registry, configs: &[ProviderConfig]) -> Self {
        let configured = configs.iter().filter_map(|config| registry.get(&config.id).ok());
        let made_in_code =
            registry.iter().filter(|one| configs.iter().all(|config| config.id != *one.id())).cloned();
        let providers = configured
            .chain(made_in_code)
            .map(|provider| {
                let config = configs.iter().find(|config| config.id == *provider.id());
                Surveyed {
                    region: config.and_then(|config| config.region.clone()),
                    labels: config.map(|config| config.labels.clone()).unwrap_or_default(),
                    ask_now: Notify::new(),
                    answer: watch::Sender::new(None),
                    provider,
                }
            })
            .collect();
        Self { providers }
    }

    pub fn ids(&self) -> impl Iterator<Item = &ProviderId> {
        self.providers.iter().map(|one| one.provider.id())
    }

    /// Asks every provider again and again until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut asking = JoinSet::new();
        for place in 0..self.providers.len() {
            let survey = self.clone();
            asking.spawn(async move { survey.providers[place].ask_again_and_again().await });
        }
        shutdown.cancelled().await;
    }

    /// What is so at this moment, asked anew; returns within [`ANSWER_WITHIN`] and a little.
    pub async fn facts_now(&self, fixed: Option<&ProviderId>) -> Vec<Facts> {
        futures::future::join_all(self.asked(fixed).map(Surveyed::facts_now)).await
    }

    fn asked<'a>(&'a self, fixed: Option<&'a ProviderId>) -> impl Iterator<Item = &'a Surveyed> {
        self.providers.iter().filter(move |one| fixed.is_none_or(|fixed| fixed == one.provider.id()))
    }

    /// From memory, at once.
    pub fn statuses(&self) -> Vec<ProviderStatus> {
        self.providers.iter().map(Surveyed::status).collect()
    }
}

impl Surveyed {
    async fn ask_again_and_again(&self) {
        loop {
            let answer = self.ask().await;
            if let Err(failure) = &answer.capacity {
                tracing::debug!(provider = %self.provider.id(), %failure, "provider does not answer");
            }
            self.answer.send_replace(Some(answer));
            let _ = tokio::time::timeout(ASK_EVERY, self.ask_now.notified()).await;
        }
    }

    async fn ask(&self) -> Answer {
        let question = async {
            let capacity = self.provider.capacity().await?;
            let instances = self.provider.instances().await?;
            Ok::<_, fluidcloud_providers::Error>((capacity, instances.len() as u64))
        };
        match tokio::time::timeout(ANSWER_WITHIN, question).await {
            Ok(Ok((capacity, instances))) => Answer { capacity: Ok(capacity), instances },
            Ok(Err(error)) => Answer { capacity: Err(error.to_failure()), instances: 0 },
            Err(_) => Answer { capacity: Err(self.silent()), instances: 0 },
        }
    }

    async fn facts_now(&self) -> Facts {
        let mut answers = self.answer.subscribe();
        self.ask_now.notify_one();
        // A question already under way may answer first; it began a moment ago, which is now enough.
        let heard = tokio::time::timeout(ANSWER_WITHIN, answers.changed()).await;
        let capacity = match (heard, &*answers.borrow()) {
            (Ok(Ok(())), Some(answer)) => answer.capacity.clone(),
            _ => Err(self.silent()),
        };
        self.facts(capacity)
    }

    fn facts(&self, capacity: Result<Capacity, Failure>) -> Facts {
        Facts {
            provider: self.provider.id().clone(),
            driver: self.provider.driver().to_owned(),
            region: self.region.clone(),
            labels: self.labels.clone(),
            capacity,
        }
    }

    fn silent(&self) -> Failure {
        Failure::later(
            Code::TimedOut,
            format!("provider `{}` did not answer within {} s", self.provider.id(), ANSWER_WITHIN.as_secs()),
            "check that its host is up and its service answers",
        )
    }

    fn status(&self) -> ProviderStatus {
        let answer = self.answer.borrow().clone();
        let (capacity, failure, instances) = match answer {
            Some(Answer { capacity: Ok(capacity), instances }) => (Some(capacity), None, instances),
            Some(Answer { capacity: Err(failure), .. }) => (None, Some(failure), 0),
            None => (None, Some(self.not_yet_asked()), 0),
        };
        ProviderStatus {
            id: self.provider.id().clone(),
            driver: self.provider.driver().to_owned(),
            reachable: failure.is_none(),
            failure,
            region: self.region.clone(),
            labels: self.labels.clone(),
            capacity,
            instances,
        }
    }

    fn not_yet_asked(&self) -> Failure {
        Failure::later(
            Code::Unreachable,
            format!("provider `{}` has not answered yet", self.provider.id()),
            "ask again in a few seconds",
        )
    }
}
