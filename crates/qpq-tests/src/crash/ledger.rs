//! Who was told what: which messages the server has acknowledged, and what each person has been shown, in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// Filled by the threads that read what the programs print.
pub struct Ledger {
    names: Vec<String>,
    book: Mutex<Book>,
    changed: Condvar,
}

/// Which of a profile's two event queues a program reads: each is shown everything once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    Recv,
    Repl,
}

#[derive(Default)]
struct Book {
    /// By message id, the sender.
    acknowledged: BTreeMap<String, usize>,
    /// Those of them that not everybody is known to have been shown.
    unsettled: BTreeMap<String, usize>,
    /// Messages that a program has accepted, by text: their ids.
    accepted: HashMap<String, String>,
    shown: HashMap<(usize, Queue), Shown>,
    /// New names of the group that each person has seen.
    renamed: HashMap<usize, HashSet<String>>,
    problems: Vec<String>,
}

/// What one queue has shown, over all programs that read it.
#[derive(Default)]
struct Shown {
    order: Vec<String>,
    places: HashMap<String, usize>,
    texts: HashSet<String>,
    repeating: Repeating,
}

/// A program that was killed had perhaps not stored what it had printed last: that comes again, without a hole, and only
/// at the beginning of the next program.
#[derive(Default, PartialEq, Eq)]
enum Repeating {
    #[default]
    May,
    Now {
        next: usize,
    },
    Over,
}

impl Ledger {
    pub fn new(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, book: Mutex::default(), changed: Condvar::new() }
    }

    /// A program begins to read this queue.
    pub fn begins(&self, person: usize, queue: Queue) {
        self.book().shown.entry((person, queue)).or_default().repeating = Repeating::May;
    }

    /// A line that a program of `person` has printed.
    pub fn printed(&self, person: usize, queue: Queue, line: &Value) {
        let mut book = self.book();
        let id = line["id"].as_str().unwrap_or_default().to_owned();
        match line["type"].as_str().unwrap_or_default() {
            "sent" => book.acknowledged_by(person, id),
            "message" => {
                let text = line["content"]["text"].as_str().unwrap_or_default();
                if let Err(problem) = book.shown.entry((person, queue)).or_default().add(id, text) {
                    let name = &self.names[person];
                    book.problems.push(format!("{name} ({queue:?}): {problem}: {text}"));
                }
            }
            "renamed" => {
                let name = line["name"].as_str().unwrap_or_default().to_owned();
                book.renamed.entry(person).or_default().insert(name);
            }
            "gap" | "refused" | "not_sent" | "key_changed" | "untrusted_device" | "removed" | "left" => {
                book.problems.push(format!("{} was shown {line}", self.names[person]));
            }
            _ => {}
        }
        drop(book);
        self.changed.notify_all();
    }

    /// `qpq send` has ended with success, or a piped message was stored: then its text belongs to this id.
    pub fn accepted(&self, text: &str, id: &str) {
        self.book().accepted.insert(text.to_owned(), id.to_owned());
        self.changed.notify_all();
    }

    /// The server has this message.
    pub fn acknowledged(&self, person: usize, id: &str) {
        self.book().acknowledged_by(person, id.to_owned());
    }

    /// Something that must not happen.
    pub fn problem(&self, text: String) {
        self.book().problems.push(text);
    }

    /// Acknowledged messages so far.
    pub fn count(&self) -> usize {
        self.book().acknowledged.len()
    }

    /// Waits until everybody has been shown every acknowledged message of others, these texts and
    /// this name, and checks
    /// that nothing was shown twice or in different orders.
    pub fn settle(&self, texts: &[(usize, String)], name: Option<(usize, &str)>, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut book = self.book();
        loop {
            ensure!(book.problems.is_empty(), "{}", book.problems.join("\n"));
            let missing = book.missing(&self.names, texts, name);
            if missing.is_empty() {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let some: Vec<_> = missing.iter().take(10).cloned().collect();
                bail!("{} things were not shown, such as:\n{}", missing.len(), some.join("\n"));
            }
            book = self.changed.wait_timeout(book, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        book.unsettled.clear();
        book.check_order(&self.names)
    }

    /// Compares with what the database of `person` holds, oldest first.
    pub fn compare(&self, person: usize, history: &[Value]) -> Result<()> {
        let book = self.book();
        let name = &self.names[person];
        let mut ids = BTreeSet::new();
        let mut texts = BTreeSet::new();
        for message in history {
            let (id, text) = (message["id"].as_str().unwrap_or_default(), message["content"]["text"].as_str());
            ensure!(ids.insert(id), "{name} has a message twice: {message}");
            ensure!(texts.insert(text), "{name} has a text twice: {message}");
            if book.acknowledged.get(id) == Some(&person) {
                ensure!(message["status"] == "sent", "{name} was told that it was sent: {message}");
            }
        }
        let lost: Vec<_> = book.acknowledged.keys().filter(|id| !ids.contains(id.as_str())).collect();
        ensure!(lost.is_empty(), "{name} lacks {} acknowledged messages: {lost:?}", lost.len());
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn acknowledged_by(&mut self, person: usize, id: String) {
        if self.acknowledged.insert(id.clone(), person).is_none() {
            self.unsettled.insert(id, person);
        }
    }

    fn missing(&self, names: &[String], texts: &[(usize, String)], name: Option<(usize, &str)>) -> Vec<String> {
        let mut missing = Vec::new();
        for (person, who) in names.iter().enumerate() {
            let queues: Vec<_> = [Queue::Recv, Queue::Repl].map(|queue| self.shown.get(&(person, queue))).into();
            let has = |found: &dyn Fn(&Shown) -> bool| queues.iter().flatten().any(|shown| found(shown));
            for id in self.unsettled.iter().filter(|(_, sender)| **sender != person).map(|(id, _)| id) {
                if !has(&|shown| shown.places.contains_key(id)) {
                    missing.push(format!("{who}: message {id}"));
                }
            }
            for (_, text) in texts.iter().filter(|(sender, _)| *sender != person) {
                if !has(&|shown| shown.texts.contains(text)) {
                    missing.push(format!("{who}: {text}"));
                }
            }
            if let Some((by, name)) = name
                && by != person
                && !self.renamed.get(&person).is_some_and(|seen| seen.contains(name))
            {
                missing.push(format!("{who}: the name {name}"));
            }
        }
        for (_, text) in texts {
            if !self.accepted.get(text).is_some_and(|id| self.acknowledged.contains_key(id)) {
                missing.push(format!("the acknowledgement of {text}"));
            }
        }
        missing
    }

    /// What two people have both been shown, which is what neither of them wrote, was shown in one order.
    fn check_order(&self, names: &[String]) -> Result<()> {
        let all: Vec<_> = self.shown.iter().collect();
        for (index, ((one, _), shown)) in all.iter().enumerate() {
            for ((other, _), compared) in &all[index + 1..] {
                let mut last = None;
                for id in &shown.order {
                    let Some(place) = compared.places.get(id) else { continue };
                    ensure!(
                        last < Some(place),
                        "{} and {} were shown {id} in different orders",
                        names[*one],
                        names[*other]
                    );
                    last = Some(place);
                }
            }
        }
        Ok(())
    }
}

impl Shown {
    fn add(&mut self, id: String, text: &str) -> Result<(), &'static str> {
        match self.places.get(&id) {
            Some(place) => match self.repeating {
                Repeating::May => self.repeating = Repeating::Now { next: place + 1 },
                Repeating::Now { next } if next == *place => self.repeating = Repeating::Now { next: next + 1 },
                Repeating::Now { .. } => return Err("what comes again has another order"),
                Repeating::Over => return Err("shown twice"),
            },
            None => {
                if let Repeating::Now { next } = self.repeating
                    && next != self.order.len()
                {
                    return Err("what comes again has a hole before");
                }
                self.repeating = Repeating::Over;
                self.places.insert(id.clone(), self.order.len());
                self.order.push(id);
                if !self.texts.insert(text.to_owned()) {
                    return Err("the same text in two messages");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(ledger: &Ledger, person: usize, ids: &[&str]) {
        for id in ids {
            let line = serde_json::json!({ "type": "message", "id": id, "content": { "text": format!("text {id}") } });
            ledger.printed(person, Queue::Recv, &line);
        }
    }

    fn settle(ledger: &Ledger) -> Result<(), String> {
        ledger.settle(&[], None, Duration::ZERO).map_err(|error| error.to_string())
    }

    fn check(runs: &[&[&str]], expected: Result<(), &str>) {
        let ledger = Ledger::new(&["alice"]);
        for run in runs {
            ledger.begins(0, Queue::Recv);
            show(&ledger, 0, run);
        }
        let found = settle(&ledger);
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{runs:?}"),
            Err(words) => assert!(found.is_err_and(|text| text.contains(words)), "{runs:?}"),
        }
    }

    #[test]
    fn only_the_end_of_a_killed_program_comes_again() {
        check(&[&["1", "2"], &["3"]], Ok(()));
        check(&[&["1", "2", "3"], &["2", "3", "4"]], Ok(()));
        check(&[&["1", "2"], &["1", "2"]], Ok(()));
        check(&[&["1", "2", "1"]], Err("twice"));
        check(&[&["1", "2"], &["3", "2"]], Err("twice"));
        check(&[&["1", "2", "3"], &["1", "3"]], Err("another order"));
        check(&[&["1", "2", "3"], &["2", "4"]], Err("hole"));
    }

    #[test]
    fn lost_messages_and_other_orders_are_found() {
        let ledger = Ledger::new(&["alice", "bob", "carol"]);
        show(&ledger, 0, &["1", "2"]);
        show(&ledger, 1, &["2", "1"]);
        assert!(settle(&ledger).is_err_and(|text| text.contains("orders")));
        let ledger = Ledger::new(&["alice", "bob", "carol"]);
        ledger.acknowledged(0, "1");
        show(&ledger, 1, &["1"]);
        assert!(settle(&ledger).is_err_and(|text| text.contains("carol: message 1")));
        show(&ledger, 2, &["1"]);
        assert_eq!(settle(&ledger), Ok(()));
        ledger.printed(2, Queue::Recv, &serde_json::json!({ "type": "gap", "count": 1 }));
        assert!(settle(&ledger).is_err());
    }

    #[test]
    fn a_database_that_lacks_or_doubles_something_is_found() {
        let ledger = Ledger::new(&["alice", "bob"]);
        ledger.acknowledged(0, "1");
        let row = |id: &str, text: &str| serde_json::json!({ "id": id, "status": "sent", "content": { "text": text } });
        assert!(ledger.compare(1, &[row("1", "a"), row("2", "b")]).is_ok());
        assert!(ledger.compare(1, &[row("2", "b")]).is_err());
        assert!(ledger.compare(1, &[row("1", "a"), row("1", "b")]).is_err());
        assert!(ledger.compare(1, &[row("1", "a"), row("2", "a")]).is_err());
    }
}
