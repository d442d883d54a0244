//! Two listings side by side, page by page: what each holds of the same name. Neither is ever whole in memory.

use std::collections::VecDeque;

use fluidcloud_providers::{Error, Listed, ObjectStore, Page};
use futures::Stream;

/// What the two containers have of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub source: Option<Listed>,
    pub target: Option<Listed>,
}

impl Pair {
    /// One without bytes may be a manifest, of which a listing tells nothing.
    pub fn is_equal(&self) -> bool {
        self.source == self.target && self.source.as_ref().is_some_and(|listed| listed.bytes > 0)
    }
}

/// One listing.
pub struct Lines<'a> {
    store: &'a dyn ObjectStore,
    container: &'a str,
    page: Page,
    lines: VecDeque<Listed>,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub fn new(store: &'a dyn ObjectStore, container: &'a str, prefix: Option<String>) -> Self {
        let page = Page { prefix, after: None };
        Self { store, container, page, lines: VecDeque::new(), ended: false }
    }

    pub async fn peek(&mut self) -> Result<Option<&Listed>, Error> {
        if self.lines.is_empty() && !self.ended {
            let lines = self.store.list(self.container, &self.page).await?;
            let last = lines.last().map(|line| line.name.clone());
            // A store that gives the same page again and again would go on for ever.
            self.ended = last.is_none() || last == self.page.after;
            if !self.ended {
                self.page.after = last;
                self.lines = lines.into();
            }
        }
        Ok(self.lines.front())
    }

    pub async fn next(&mut self) -> Result<Option<Listed>, Error> {
        self.peek().await?;
        Ok(self.lines.pop_front())
    }
}

pub struct Pairs<'a> {
    source: Lines<'a>,
    target: Lines<'a>,
}

impl<'a> Pairs<'a> {
    pub fn new(source: &'a dyn ObjectStore, from: &'a str, target: &'a dyn ObjectStore, to: &'a str) -> Self {
        Self { source: Lines::new(source, from, None), target: Lines::new(target, to, None) }
    }

    pub fn stream(self) -> impl Stream<Item = Result<Pair, crate::Error>> + 'a {
        futures::stream::try_unfold(self, |mut pairs| async move {
            let pair = pairs.next().await?;
            Ok(pair.map(|pair| (pair, pairs)))
        })
    }

    async fn next(&mut self) -> Result<Option<Pair>, Error> {
        let source = self.source.peek().await?.map(|line| line.name.clone());
        let target = self.target.peek().await?.map(|line| line.name.clone());
        let Some(name) = [&source, &target].into_iter().flatten().min().cloned() else { return Ok(None) };
        let is = |other: Option<String>| other.as_ref() == Some(&name);
        let source = if is(source) { self.source.next().await? } else { None };
        let target = if is(target) { self.target.next().await? } else { None };
        Ok(Some(Pair { name, source, target }))
    }
}
