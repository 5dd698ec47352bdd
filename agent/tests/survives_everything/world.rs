//! One run: the story is told, and what must hold is looked at meanwhile and at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use revkeep_harness::{StormyBucket, Weather};
use revkeep_schemas::Revision;
use tempfile::TempDir;

use crate::chronicle::Chronicle;
use crate::invariants::{Held, comes_back, is_refused};
use crate::lives::{Ended, Lives};
use crate::model::History;
use crate::places::{Needs, needs};
use crate::plan::{Blow, End, Plan, Step};
use crate::promises::Promises;
use crate::source::Source;

/// How long the last agent may take to store all that there is.
const STORED_WITHIN: Duration = Duration::from_secs(180);
/// Between two looks at the agents.
const LOOK: Duration = Duration::from_millis(60);
const PREFIX: &str = "vault";

/// A running story.
pub(crate) struct World<'a> {
    bucket: StormyBucket,
    source: &'a mut Source,
    agents: Vec<Lives>,
    folder: TempDir,
    rng: StdRng,
    weather: Weather,
    chronicle: Chronicle,
    /// The revision with which it begins: what was compacted before is nobody's loss.
    begun: Revision,
    /// Whether anything is compacted in this story.
    compacts: bool,
    promises: Promises,
}

impl<'a> World<'a> {
    /// Tells the story on the source.
    ///
    /// # Errors
    /// What does not hold; the folder is kept then.
    pub(crate) async fn run(
        seed: u64,
        plan: &Plan,
        source: &'a mut Source,
        ports: &[u16],
    ) -> Result<Chronicle> {
        let folder = TempDir::with_prefix("revkeep-everything-")?;
        let endpoints = source.cluster.endpoints();
        let agents = ports
            .iter()
            .take(plan.agents)
            .enumerate()
            .map(|(n, port)| Lives::new(folder.path(), *port, endpoints.clone(), n))
            .collect();
        source.model.forget_the_past();
        let begun = Revision(source.model.newest());
        let mut world = World {
            bucket: StormyBucket::start(seed).await?,
            source,
            agents,
            folder,
            rng: StdRng::seed_from_u64(seed ^ 0x5eed),
            weather: plan.weather,
            chronicle: Chronicle::default(),
            begun,
            compacts: plan.compacts(),
            promises: Promises::default(),
        };
        world.source.goes_on_by(5).await?;
        let told = Box::pin(world.tell(plan)).await;
        world.source.write(false);
        if let Err(error) = told {
            world.folder.disable_cleanup(true);
            let place = world.folder.path().display();
            return Err(error.context(format!("logs and states are kept in {place}")));
        }
        let mut chronicle = world.chronicle;
        chronicle.lives = world.agents.iter().map(|agent| agent.count).sum();
        Ok(chronicle)
    }

    async fn tell(&mut self, plan: &Plan) -> Result<()> {
        if plan.weather.ignores_create {
            // Such a store cannot settle who makes the vault, as its probe says: one agent does, alone.
            self.has_a_base().await?;
        }
        self.bucket.turn(plan.weather);
        for (number, step) in plan.steps.iter().enumerate() {
            Box::pin(self.step(step))
                .await
                .with_context(|| format!("step {number}, {step:?}"))?;
        }
        Box::pin(self.end()).await
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        let until = Instant::now() + step.length;
        let unseen = step.blow == Some(Blow::CompactsUnseen);
        if unseen {
            self.everybody_dies()?;
            if matches!(step.end, End::At(place, _) if needs(place) == Needs::Gap) {
                self.has_a_base().await?;
            }
        }
        self.kill(step.agent)?;
        if matches!(step.end, End::At(place, _) if needs(place) == Needs::BadStore) {
            self.knows_the_vault(step.agent).await?;
        }
        self.blow(step.blow.filter(|_| unseen)).await?;
        if step.away {
            self.bucket.turn(Weather {
                away: true,
                ..self.weather
            });
        }
        for agent in &self.agents {
            agent.fill_disk(step.disk_full)?;
        }
        self.begin(step).await?;
        self.blow(step.blow.filter(|_| !unseen)).await?;
        let at = match step.end {
            End::At(place, _) if needs(place) != Needs::Stop => Some(place),
            _ => None,
        };
        while Instant::now() < until {
            self.look().await?;
            if at.is_some_and(|place| self.chronicle.reached.contains(&place)) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        match step.end {
            End::Killed => self.kill(step.agent)?,
            End::Stopped => self.stop(step.agent).await?,
            End::At(place, _) if needs(place) == Needs::Stop => self.stop(step.agent).await?,
            End::At(..) | End::Lives => {}
        }
        for agent in &self.agents {
            agent.fill_disk(false)?;
        }
        self.bucket.turn(self.weather);
        self.look().await
    }

    /// Makes sure that there is something that can be lost.
    async fn has_a_base(&mut self) -> Result<()> {
        if self
            .held()
            .await?
            .is_some_and(|held| !held.ranges().is_empty())
        {
            return Ok(());
        }
        self.bucket.turn(Weather::fair());
        let vault = self.bucket.stormy(PREFIX);
        let agent = self.agents.first_mut().context("no agent")?;
        agent.begin(&vault, None)?;
        agent.reaches(self.begun, STORED_WITHIN).await?;
        agent.kill()?;
        self.bucket.turn(self.weather);
        Ok(())
    }

    /// Makes sure that the agent goes on without the store.
    async fn knows_the_vault(&mut self, one: usize) -> Result<()> {
        let agent = self.agents.get_mut(one).context("no such agent")?;
        if agent.remembers() {
            return Ok(());
        }
        self.bucket.turn(Weather::fair());
        let vault = self.bucket.stormy(PREFIX);
        agent.begin(&vault, None)?;
        agent.reaches(self.begun, STORED_WITHIN).await?;
        agent.comes_to_remember(STORED_WITHIN).await?;
        agent.kill()?;
        self.bucket.turn(self.weather);
        Ok(())
    }

    async fn begin(&mut self, step: &Step) -> Result<()> {
        let vault = self.bucket.stormy(PREFIX);
        let all = Held::all(&self.bucket.contents(), PREFIX).await?;
        let agent = self.agents.get_mut(step.agent).context("no such agent")?;
        self.promises.made_by(&all, &agent.spooled()?);
        let at = match step.end {
            End::At(place, often) => Some((place, often)),
            _ => None,
        };
        agent.begin(&vault, at)?;
        if step.base {
            agent.ask_for_a_base();
        }
        Ok(())
    }

    async fn blow(&mut self, blow: Option<Blow>) -> Result<()> {
        match blow {
            Some(blow) => self
                .source
                .suffers(blow, &mut self.rng)
                .await
                .with_context(|| format!("{blow:?}")),
            None => Ok(()),
        }
    }

    fn everybody_dies(&mut self) -> Result<()> {
        (0..self.agents.len()).try_for_each(|one| self.kill(one))
    }

    fn kill(&mut self, one: usize) -> Result<()> {
        let agent = self.agents.get_mut(one).context("no such agent")?;
        let ended = agent.kill()?;
        self.note(ended);
        Ok(())
    }

    async fn stop(&mut self, one: usize) -> Result<()> {
        let agent = self.agents.get_mut(one).context("no such agent")?;
        let ended = agent.stop().await?;
        self.note(ended);
        Ok(())
    }

    fn note(&mut self, ended: Option<Ended>) {
        if let Some(Ended::At(place)) = ended {
            self.chronicle.reached.push(place);
        }
    }

    /// What is called durable is compared with what is there; whoever gave up is started again, as a supervisor would.
    async fn look(&mut self) -> Result<()> {
        let vault = self.bucket.stormy(PREFIX);
        for one in 0..self.agents.len() {
            let agent = self.agents.get_mut(one).context("no such agent")?;
            let said = agent.durable().await;
            if let Some(ended) = agent.look()? {
                if matches!(ended, Ended::Exit(_)) {
                    agent.begin(&vault, None)?;
                }
                self.note(Some(ended));
            }
            if let Some((timeline, durable)) = said {
                self.bears_out(&timeline, durable).await?;
            }
        }
        Ok(())
    }

    async fn bears_out(&mut self, timeline: &str, durable: Revision) -> Result<()> {
        let all = self.timelines().await?;
        let held = all.into_iter().find(|held| held.id() == timeline);
        let held = held.with_context(|| format!("durable, and there is no timeline {timeline}"))?;
        self.chronicle.looks += 1;
        held.bears_out(durable)
    }

    /// The newest timeline.
    async fn held(&self) -> Result<Option<Held>> {
        Ok(self.timelines().await?.pop())
    }

    /// All of them: no more than the source had histories.
    async fn timelines(&self) -> Result<Vec<Held>> {
        let all = Held::all(&self.bucket.contents(), PREFIX).await?;
        let histories = self.source.model.past().len() + 1;
        ensure!(
            all.len() <= histories,
            "{} timelines of {histories} histories",
            all.len()
        );
        Ok(all)
    }

    /// The weather clears, an agent that knows nothing of all this stores what there is, and everything is compared.
    async fn end(&mut self) -> Result<()> {
        self.bucket.turn(Weather::fair());
        self.everybody_dies()?;
        let vault = self.bucket.stormy(PREFIX);
        for agent in &mut self.agents {
            agent.begin(&vault, None)?;
        }
        self.source.goes_on_by(3).await?;
        let mut last = self.source.rests().await?;
        let timeline = loop {
            let timeline = self.agree(last).await?;
            // A write that was not waited for any longer may be done later.
            let now = self.source.rests().await?;
            if now == last {
                break timeline;
            }
            last = now;
        };
        self.look().await?;
        for one in 0..self.agents.len() {
            let agent = self.agents.get_mut(one).context("no such agent")?;
            let ended = agent.stop().await?;
            ensure!(
                ended == Some(Ended::Exit(0)),
                "{ended:?} in fair weather:\n{}",
                agent.log_tail(30)
            );
        }
        self.judge(&timeline, last).await
    }

    /// Waits until all agents have stored everything in one timeline, and gives it. It need not be the newest: a source that
    /// was set back may be what an older one began with.
    async fn agree(&mut self, last: Revision) -> Result<String> {
        let deadline = Instant::now() + STORED_WITHIN;
        loop {
            let mut said = Vec::new();
            for agent in &mut self.agents {
                agent.reaches(last, STORED_WITHIN).await?;
                said.extend(agent.durable().await);
            }
            let mut timelines: Vec<_> = said.into_iter().map(|(timeline, _)| timeline).collect();
            timelines.dedup();
            if let [timeline] = &timelines[..] {
                return Ok(timeline.clone());
            }
            ensure!(Instant::now() < deadline, "the agents are in {timelines:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn judge(&mut self, timeline: &str, last: Revision) -> Result<()> {
        let mut older = self.timelines().await?;
        let at = older.iter().position(|held| held.id() == timeline);
        let held = older.remove(at.context("there is no vault")?);
        held.bears_out(last)?;
        let (first, newest) = (
            held.ranges().first().context("nothing is covered")?.0,
            held.ranges().last().context("nothing is covered")?.1,
        );
        ensure!(newest == last, "covered to {newest}, the source has {last}");
        self.chronicle.lost = held.lost(self.source.compacted())?;
        if self.compacts {
            self.promises.kept_by(&held)?;
        } else {
            // The source had everything all the time.
            held.lacks_nothing()?;
            older.iter().try_for_each(Held::lacks_nothing)?;
        }
        held.is_of_one_history(&self.source.model, true).await?;
        for one in &older {
            one.is_of_one_history(&self.source.model, false).await?;
            let newest = one.ranges().last().map_or(Revision::ZERO, |range| range.1);
            one.names_what_it_lacks(newest)?;
        }
        self.chronicle.timelines = older.len() + 1;
        self.chronicle.objects = held.objects() + older.iter().map(Held::objects).sum::<usize>();
        let covered = held.ranges().iter().map(|(from, to)| to.0 - from.0 + 1);
        self.chronicle.revisions = covered.sum();
        // The model is the source's own history.
        let (compacted, hash) = self.source.hash(last).await?;
        let model = self.source.model.now();
        ensure!(
            model.hash(last, compacted) == hash,
            "the model's HashKV({last}) under {compacted} is not the source's"
        );
        self.restore(&held, &model, first, last).await
    }

    async fn restore(
        &mut self,
        held: &Held,
        model: &History,
        first: Revision,
        last: Revision,
    ) -> Result<()> {
        let vault = self.bucket.fair(PREFIX);
        let any = Revision(self.rng.random_range(self.begun.max(first).0..=last.0));
        for revision in [last, any] {
            let covered = held
                .ranges()
                .iter()
                .any(|(from, to)| *from <= revision && revision <= *to);
            if covered {
                comes_back(&vault, (&held.id(), revision), self.folder.path(), model).await?;
                self.chronicle.restored += 1;
            } else {
                is_refused(&vault, (&held.id(), revision), self.folder.path()).await?;
            }
        }
        Ok(())
    }
}
