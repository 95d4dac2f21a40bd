//! The writer thread: takes what is pending and writes it.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use qanat_plan::Level;

use crate::clock::{self, Instant};
use crate::error::describe;
use crate::log::error::format_line;
use crate::log::writer::output::Output;
use crate::log::writer::{LogFile, Queue, RoutedLine, State};

/// How long lines gather after a write. The first line after a pause is written at once; under load this bounds the
/// number of times that the thread is woken.
const GATHER: Duration = Duration::from_millis(5);
/// Files whose path is made per line that are kept open.
const MAX_OPEN: usize = 32;
/// Largest buffer that is kept for the next lines.
const MAX_SPARE: usize = 64 << 10;
/// The least time between two reports of failed writes.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the last handle is gone and everything is written.
pub(crate) fn run(queue: &Queue) {
    let mut thread = Drain { queue, open: Vec::new(), last_report: None, spare: Vec::new() };
    loop {
        let work = {
            let mut state = queue.state.lock();
            queue.arrived.wait_while(&mut state, |state| state.is_idle());
            Work::take(&mut state)
        };
        thread.write(&work);
        if work.reopen {
            thread.reopen();
        }
        let mut state = queue.state.lock();
        state.answered = work.asked;
        queue.answered.notify_all();
        if work.stopped {
            return;
        }
        if !state.is_urgent() {
            queue.urgent.wait_for(&mut state, GATHER);
        }
    }
}

/// What was to be done at one moment.
struct Work {
    files: Vec<Arc<LogFile>>,
    routed: Vec<RoutedLine>,
    routed_dropped: u64,
    reopen: bool,
    asked: u64,
    stopped: bool,
}

impl Work {
    fn take(state: &mut State) -> Self {
        state.routed_bytes = 0;
        Self {
            files: std::mem::take(&mut state.dirty),
            routed: std::mem::take(&mut state.routed),
            routed_dropped: std::mem::take(&mut state.routed_dropped),
            reopen: std::mem::take(&mut state.reopen),
            asked: state.asked,
            stopped: state.stopped,
        }
    }
}

struct Drain<'a> {
    queue: &'a Queue,
    /// Files whose path is made per line, the one used last at the end.
    open: Vec<(String, Output)>,
    last_report: Option<Instant>,
    /// An empty buffer, exchanged for a full one so that neither is allocated anew.
    spare: Vec<u8>,
}

impl Drain<'_> {
    fn write(&mut self, work: &Work) {
        for file in &work.files {
            self.write_file(file);
        }
        for routed in &work.routed {
            if let Err(error) = self.write_routed(routed) {
                self.report_failure("write() to", &routed.path, &error);
            }
        }
        if work.routed_dropped > 0 {
            self.report_dropped(work.routed_dropped, "paths with variables");
        }
    }

    fn write_file(&mut self, file: &Arc<LogFile>) {
        let mut pending = file.pending.lock();
        pending.listed = false;
        let dropped = std::mem::take(&mut pending.dropped);
        let mut lines = std::mem::replace(&mut pending.lines, std::mem::take(&mut self.spare));
        drop(pending);
        let written = file.output.lock().write(&lines);
        lines.clear();
        lines.shrink_to(MAX_SPARE);
        self.spare = lines;
        if let Err(error) = written {
            self.report_failure("write() to", file.name(), &error);
        }
        if dropped > 0 {
            self.report_dropped(dropped, file.name());
        }
    }

    fn write_routed(&mut self, routed: &RoutedLine) -> io::Result<()> {
        let output = match self.open.iter().position(|(path, _)| *path == routed.path) {
            Some(at) => self.open.remove(at).1,
            None => Output::open(Some(&routed.path))?,
        };
        let written = output.write(&routed.line);
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((routed.path.clone(), output));
        written
    }

    fn reopen(&mut self) {
        self.open.clear();
        let files: Vec<_> = self.queue.registry.lock().files.values().filter_map(Weak::upgrade).collect();
        for file in files {
            match Output::open(file.path.as_deref()) {
                Ok(output) => *file.output.lock() = output,
                Err(error) => self.report_failure("open()", file.name(), &error),
            }
        }
    }

    fn report_dropped(&self, count: u64, name: &str) {
        self.report(Level::Warn, &format!("{count} log lines dropped, the queue of \"{name}\" was full"));
    }

    /// A disk that is full fails with every line: one report per interval is enough.
    fn report_failure(&mut self, verb: &str, name: &str, error: &io::Error) {
        let now = clock::now();
        if self.last_report.is_none_or(|last| now - last >= REPORT_INTERVAL) {
            self.last_report = Some(now);
            self.report(Level::Alert, &format!("{verb} \"{name}\" failed ({})", describe(error)));
        }
    }

    /// Writes to the first error log, or to standard error if there is none or it fails itself.
    fn report(&self, level: Level, message: &str) {
        let mut line = Vec::new();
        format_line(level, message, &mut line);
        let error_log = self.queue.registry.lock().error_logs.iter().find_map(Weak::upgrade);
        let written = error_log.map(|file| file.output.lock().write(&line));
        if !matches!(written, Some(Ok(()))) {
            // Nobody is left to tell.
            drop(Output::Stderr.write(&line));
        }
    }
}
