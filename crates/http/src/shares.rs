//! In which order those who wait are served: clients take turns by the time that their jobs take.
//!
//! The order is that of fair queueing (Demers, Keshav and Shenker, SIGCOMM 1989). A lane has a virtual time, which goes on
//! by what a job takes over the number of clients that want something, as if it were shared out among them. The start tag of
//! a client's next job is the later of two: the virtual time at which the client came to wait, and the tag of its last job
//! plus what that one took. The least tag comes first. So whoever waits together has equal parts, and only time that others
//! waited for counts: a client that was served for long while nobody else was there is not behind new ones. A client that
//! takes less than its part while others wait for theirs keeps the difference, up to [`CREDIT`], so that whoever asks now
//! and then does not queue behind whoever always asks. Whoever has kept [`PROMPT`] of it, and lately had less than half of
//! an equal part, does not even wait for a thread: where many ask, but not all the time, all of them keep something.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Most seconds of processor time that a client keeps of the part that it did not take.
const CREDIT: f64 = 0.1;
/// Seconds of it with which a client is served at once.
const PROMPT: f64 = CREDIT / 2.0;

/// Seconds of processor time behind which what was had counts for a third.
const LATELY: f64 = 1.0;
/// Of an equal part of what was had lately: below it a client is served at once.
const LIGHT: f64 = 0.5;
/// Of what all had lately: nothing to speak of.
const TRACE: f64 = 0.01;

/// Most clients that are remembered although they want nothing.
const REMEMBERED: usize = 64;

/// What the clients of a lane had and want.
#[derive(Debug)]
pub struct Shares<T> {
    running: usize,
    /// Of those that run, those that did not wait for a thread.
    prompt: usize,
    waiting: usize,
    clients: HashMap<IpAddr, Client<T>>,
    /// In seconds of processor time.
    virtual_time: f64,
    /// Seconds of processor time that all jobs took, and lately: also those of clients that are forgotten.
    work: f64,
    lately: f64,
    /// Number of the next one that waits.
    next: u64,
}

#[derive(Debug)]
struct Client<T> {
    /// The start tag of its next job, unless the virtual time is later when that one comes.
    start: f64,
    /// Seconds of processor time that it had lately, as of some amount of work.
    had: (f64, f64),
    running: usize,
    waiting: VecDeque<Waiting<T>>,
}

/// What one whose turn has come is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// A thread at once: the client has had less than its part.
    Prompt,
    /// The next free thread; nobody else wants anything, or did lately.
    Alone,
    /// The next free thread, while others want theirs.
    Shared,
}

/// One that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    number: u64,
    /// What it is expected to take.
    pub cost: Duration,
    /// How to tell it that its turn has come.
    pub call: T,
}

impl<T> Client<T> {
    /// Whose turn it is, least first: by start tag, then in the order in which they came.
    fn turn(&self) -> Option<(f64, u64)> {
        self.waiting.front().map(|first| (self.start, first.number))
    }

    /// Seconds of processor time that it had lately.
    fn lately(&self, work: f64) -> f64 {
        let (had, then) = self.had;
        had * ((then - work) / LATELY).exp()
    }

    fn wants(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }
}

impl<T> Default for Shares<T> {
    fn default() -> Shares<T> {
        Shares {
            running: 0,
            prompt: 0,
            waiting: 0,
            clients: HashMap::new(),
            virtual_time: 0.0,
            work: 0.0,
            lately: 0.0,
            next: 0,
        }
    }
}

impl<T> Shares<T> {
    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many of those waited for a thread.
    pub fn sharing(&self) -> usize {
        self.running - self.prompt
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts one at the end of what its client waits for, and returns its number.
    pub fn wait(&mut self, client: IpAddr, cost: Duration, call: T) -> u64 {
        self.next += 1;
        self.waiting += 1;
        let number = self.next;
        let now = self.virtual_time;
        let client = self.clients.entry(client).or_insert_with(|| Client {
            start: now,
            had: (0.0, 0.0),
            running: 0,
            waiting: VecDeque::new(),
        });
        if client.waiting.is_empty() {
            client.start = client.start.max(now - CREDIT);
        }
        client.waiting.push_back(Waiting { number, cost, call });
        number
    }

    /// Takes the one whose turn it is, if there is a thread for it among `threads`, and charges its client what it is
    /// expected to take. As many threads more are for those who have had less than their part.
    pub fn take(&mut self, threads: usize) -> Option<(IpAddr, Waiting<T>, Pace)> {
        let at_once = (self.prompt < threads).then(|| self.light()).flatten();
        let (address, pace) = match at_once {
            Some(address) => (address, Pace::Prompt),
            None if self.sharing() >= threads => return None,
            None => {
                let trace = self.lately * TRACE;
                let asks = |c: &&Client<T>| c.wants() || c.lately(self.work) > trace;
                let alone = self.clients.values().filter(asks).count() == 1;
                let pace = if alone { Pace::Alone } else { Pace::Shared };
                (self.first(|_| true)?, pace)
            }
        };
        let client = self.clients.get_mut(&address)?;
        let next = client.waiting.pop_front()?;
        client.start += next.cost.as_secs_f64();
        client.running += 1;
        self.waiting -= 1;
        self.running += 1;
        self.prompt += usize::from(pace == Pace::Prompt);
        Some((address, next, pace))
    }

    /// Whose turn it is, among some.
    fn first(&self, among: impl Fn(&Client<T>) -> bool) -> Option<IpAddr> {
        let turns = self.clients.iter().filter(|(_, client)| among(client));
        let turns = turns.filter_map(|(address, client)| Some((client.turn()?, *address)));
        let first = turns.min_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        first.map(|(_, address)| address)
    }

    /// Whose turn it is among those who do not wait for a thread.
    fn light(&self) -> Option<IpAddr> {
        let least = self.virtual_time - PROMPT;
        let credited = |c: &Client<T>| c.start <= least && !c.waiting.is_empty();
        if !self.clients.values().any(credited) {
            return None;
        }
        // Equal parts of those who had anything to speak of.
        let had = |c: &&Client<T>| c.lately(self.work) > self.lately * TRACE;
        let several = self.clients.values().filter(had).count();
        let part = self.lately / several.max(1) as f64;
        self.first(|c| credited(c) && c.lately(self.work) <= LIGHT * part)
    }

    /// Takes note that a job is over, and what it really took.
    pub fn end(&mut self, client: IpAddr, cost: Duration, took: Duration, pace: Pace) {
        let wanting = self.clients.values().filter(|c| c.wants()).count();
        self.virtual_time += took.as_secs_f64() / wanting.max(1) as f64;
        let seconds = took.as_secs_f64();
        self.lately = self.lately * (-seconds / LATELY).exp() + seconds;
        self.work += seconds;
        let work = self.work;
        self.running -= 1;
        self.prompt -= usize::from(pace == Pace::Prompt);
        if let Some(client) = self.clients.get_mut(&client) {
            client.running -= 1;
            client.had = (client.lately(work) + seconds, work);
            client.start += took.as_secs_f64() - cost.as_secs_f64();
        }
        if self.running + self.waiting == 0 {
            // Nobody waited for anything that somebody had. What somebody did not take while others waited is kept.
            let now = self.virtual_time;
            self.clients.retain(|_, c| c.start < now);
            if self.clients.len() > REMEMBERED {
                self.clients.clear();
            }
        } else if self.clients.len() > REMEMBERED {
            self.tidy();
        }
    }

    /// Takes away one that no longer waits, if it is there.
    pub fn leave(&mut self, client: IpAddr, number: u64) {
        let Some(client) = self.clients.get_mut(&client) else {
            return;
        };
        let before = client.waiting.len();
        client.waiting.retain(|w| w.number != number);
        self.waiting -= before - client.waiting.len();
    }

    /// Makes room in a full queue at the cost of whoever has most there, if that is not `client`.
    pub fn displace(&mut self, client: IpAddr) -> bool {
        let own = self.clients.get(&client).map_or(0, |c| c.waiting.len());
        let most = self.clients.values_mut().max_by_key(|c| c.waiting.len());
        match most {
            // Whoever waits there learns it from the end of its call.
            Some(most) if most.waiting.len() > own + 1 => {
                most.waiting.pop_back();
                self.waiting -= 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets clients that want nothing and have had nothing for long.
    fn tidy(&mut self) {
        let now = self.virtual_time;
        self.clients
            .retain(|_, c| c.wants() || c.start > now - CREDIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHILE: Duration = Duration::from_millis(10);

    fn from(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    impl Shares<()> {
        fn ask(&mut self, who: u8) {
            // Nobody listens.
            self.wait(from(who), WHILE, ());
        }

        /// Lets the one whose turn it is run for as long as `took` says, and names it.
        fn serve(&mut self, took: impl Fn(u8) -> Duration) -> Option<u8> {
            let (client, next, pace) = self.take(1)?;
            let IpAddr::V4(address) = client else {
                return None;
            };
            let who = address.octets()[3];
            self.end(client, next.cost, took(who), pace);
            Some(who)
        }
    }

    #[test]
    fn what_nobody_waited_for_is_not_held_against_anybody() {
        let mut shares = Shares::default();
        // An hour's worth of jobs of one client, then four that are new and always want something.
        for _ in 0..360_000 {
            shares.ask(1);
            assert_eq!(shares.serve(|_| WHILE), Some(1));
        }
        let strangers = [2, 3, 4, 5];
        for who in strangers.into_iter().chain(strangers) {
            shares.ask(who);
        }
        for _ in 0..100 {
            shares.ask(1);
            // No more than one job of each of them comes before it.
            let mut before = 0;
            while let Some(who) = shares.serve(|_| WHILE) {
                if who == 1 {
                    break;
                }
                before += 1;
                shares.ask(who);
            }
            assert!(before <= strangers.len(), "{before} came first");
        }
    }

    /// Whoever asks less often than its part would allow does not wait for those who always ask.
    #[test]
    fn whoever_takes_less_than_its_part_comes_first() {
        let mut shares = Shares::default();
        let strangers = [2, 3, 4, 5];
        for who in strangers {
            shares.ask(who);
        }
        shares.ask(1);
        let mut waited = Vec::new();
        for _ in 0..40 {
            let mut before = 0;
            while let Some(who) = shares.serve(|_| WHILE) {
                if who == 1 {
                    break;
                }
                shares.ask(who);
                before += 1;
            }
            waited.push(before);
            // Two rounds of the others.
            for _ in 0..2 * strangers.len() {
                let who = shares.serve(|_| WHILE).unwrap();
                shares.ask(who);
            }
            shares.ask(1);
        }
        assert!(
            waited[..3].iter().all(|w| *w <= strangers.len()),
            "{waited:?}"
        );
        assert!(waited[20..].iter().all(|w| *w == 0), "{waited:?}");
    }

    /// A moment in which nobody wants anything costs nobody what it did not take before.
    #[test]
    fn credit_outlives_a_pause() {
        let mut shares = Shares::default();
        shares.ask(1);
        shares.ask(2);
        // Client 2 takes little while client 1 takes much.
        let took = |who| if who == 2 { WHILE } else { WHILE * 30 };
        while shares.serve(took).is_some() {}
        assert_eq!(shares.clients.keys().collect::<Vec<_>>(), [&from(2)]);
        shares.ask(2);
        let (who, _, pace) = shares.take(1).unwrap();
        assert_eq!((who, pace), (from(2), Pace::Prompt));
    }

    /// One thread more than there are, for whoever had less than its part, and no more than one.
    #[test]
    fn whoever_has_credit_does_not_wait_for_a_thread() {
        let mut shares = Shares::default();
        shares.ask(1);
        let (first, held, pace) = shares.take(1).unwrap();
        assert_eq!(pace, Pace::Alone);
        shares.ask(2);
        assert!(shares.take(1).is_none(), "new clients wait");
        shares.virtual_time += 2.0 * PROMPT;
        for _ in 0..2 {
            shares.ask(3);
        }
        assert!(
            shares
                .take(1)
                .is_some_and(|(who, _, pace)| (who, pace) == (from(2), Pace::Prompt))
        );
        shares.virtual_time += 2.0 * PROMPT;
        assert!(shares.take(1).is_none(), "one prompt job at a time");
        shares.end(from(2), WHILE, WHILE, Pace::Prompt);
        let (who, next, pace) = shares.take(1).unwrap();
        assert_eq!((who, pace), (from(3), Pace::Prompt));
        shares.end(first, held.cost, WHILE, Pace::Alone);
        // What it had at once is charged like anything else.
        shares.clients.get_mut(&from(3)).unwrap().start = shares.virtual_time;
        shares.ask(4);
        assert_eq!(shares.take(1).map(|(_, _, pace)| pace), Some(Pace::Shared));
        shares.end(who, next.cost, WHILE, pace);
    }

    /// Where several ask now and then, all of them keep something of their parts; at once goes who has had little.
    #[test]
    fn who_has_had_much_lately_waits_for_a_thread() {
        let mut shares = Shares::default();
        // Somebody has the only thread.
        shares.ask(9);
        assert!(shares.take(1).is_some());
        for who in 1..6 {
            shares.ask(who);
            let (client, next, pace) = shares.take(2).unwrap();
            let took = if who == 5 { WHILE } else { 10 * WHILE };
            shares.end(client, next.cost, took, pace);
        }
        // All of them are far behind the virtual time.
        for who in 1..6 {
            shares.ask(who);
        }
        shares.virtual_time += 4.0 * PROMPT;
        let (who, _, pace) = shares.take(1).unwrap();
        assert_eq!((who, pace), (from(5), Pace::Prompt));
        shares.ask(5);
        assert!(shares.take(1).is_none(), "one prompt job at a time");
        // What was had long ago counts no more.
        shares.end(who, WHILE, WHILE, pace);
        shares.work += 20.0 * LATELY;
        shares.lately = 0.5;
        let (.., pace) = shares.take(1).unwrap();
        assert_eq!(pace, Pace::Prompt);
    }

    /// Addresses that are ever new come before nobody who waited longer than they did.
    #[test]
    fn new_clients_do_not_starve_those_who_wait() {
        let mut shares = Shares::default();
        for _ in 0..2 {
            shares.ask(1);
        }
        let mut served = 0;
        for who in 2..200 {
            shares.ask(who);
            served += usize::from(shares.serve(|_| WHILE) == Some(1));
        }
        assert_eq!(served, 2);
    }

    #[test]
    fn those_who_wait_have_equal_parts_whatever_their_jobs_take() {
        let mut shares = Shares::default();
        let mut had = [0.0; 3];
        // Client 2's jobs take five times of what was expected.
        let took = |who| if who == 2 { WHILE * 5 } else { WHILE };
        for who in [1, 1, 2, 2] {
            shares.ask(who);
        }
        for _ in 0..600 {
            let who = shares.serve(took).unwrap();
            had[usize::from(who)] += took(who).as_secs_f64();
            shares.ask(who);
        }
        assert!((had[1] / had[2] - 1.0).abs() < 0.05, "{had:?}");
        // Whoever wanted nothing for long has saved nothing up.
        for _ in 0..8 {
            shares.ask(3);
        }
        let next: Vec<_> = (0..4).map(|_| shares.serve(took).unwrap()).collect();
        assert!(next.contains(&1), "{next:?}");
    }

    #[test]
    fn clients_that_want_nothing_are_forgotten() {
        let mut shares = Shares::default();
        // Somebody always waits.
        shares.ask(255);
        for who in 0..200 {
            shares.ask(255);
            shares.ask(who);
            shares.serve(|_| WHILE);
            shares.serve(|_| WHILE);
        }
        assert!(shares.clients.len() <= 64, "{}", shares.clients.len());
        while shares.serve(|_| WHILE).is_some() {}
        // But for what they did not take.
        let now = shares.virtual_time;
        assert!(shares.clients.values().all(|c| c.start < now));
        assert!(shares.clients.len() <= REMEMBERED);
        shares.clients.clear();
        // Not those whose jobs run: what they take is still to be charged.
        shares.ask(1);
        shares.ask(2);
        let (client, next, pace) = shares.take(1).unwrap();
        shares.virtual_time += 1.0;
        shares.tidy();
        assert_eq!(shares.clients.len(), 2);
        let before = shares.clients[&client].start;
        shares.end(client, next.cost, WHILE * 3, pace);
        assert!((shares.clients[&client].start - before - 0.02).abs() < 1e-9);
    }
}
