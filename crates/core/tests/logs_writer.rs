//! The writer of logs: order, sharing, reopening, and a disk that does not keep up.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod specs;
mod variables_fixtures;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use qanat_core::log::access;
use qanat_core::log::error::ErrorLogs;
use qanat_core::log::writer::LogWriter;
use qanat_core::session::Session;
use qanat_plan::{Escape, Level};
use variables_fixtures::{Directory, Gateway, access_log, error_log, format};

fn open(path: &Path, writer: &LogWriter) -> ErrorLogs {
    ErrorLogs::link(&[error_log(path, Level::Notice)], writer).unwrap()
}

/// Messages of an error log, without what stands before them.
fn messages(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once(": ").unwrap().1).collect()
}

#[test]
fn lines_keep_their_order_and_stay_whole() {
    let directory = Directory::new();
    let writer = LogWriter::start().unwrap();
    let logs = open(&directory.file("error.log"), &writer);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let logs = &logs;
            scope.spawn(move || (0..500).for_each(|n| logs.write(Level::Error, &format!("{thread} {n}"))));
        }
    });
    writer.flush();
    let text = directory.read("error.log");
    let messages = messages(&text);
    assert_eq!(messages.len(), 2000);
    for thread in 0..4 {
        let prefix = format!("{thread} ");
        let numbers: Vec<u32> =
            messages.iter().filter_map(|message| message.strip_prefix(&prefix)?.parse().ok()).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<u32>>());
    }
}

#[test]
fn logs_of_one_path_share_one_file() {
    let directory = Directory::new();
    let writer = LogWriter::start().unwrap();
    let path = directory.text("shared.log");
    let first = writer.open(Some(&path)).unwrap();
    assert!(Arc::ptr_eq(&first, &writer.open(Some(&path)).unwrap()));
    drop(first);
    fs::remove_file(&path).unwrap();
    let again = writer.open(Some(&path)).unwrap();
    assert!(fs::exists(&path).unwrap(), "a file that nobody used any more is opened anew");
    drop(again);
}

#[test]
fn what_was_written_before_the_last_user_left_is_on_disk() {
    let directory = Directory::new();
    let writer = LogWriter::start().unwrap();
    let logs = open(&directory.file("error.log"), &writer);
    logs.write(Level::Error, "last words");
    drop(logs);
    writer.flush();
    assert_eq!(messages(&directory.read("error.log")), ["last words"]);
}

#[test]
fn reopening_creates_the_file_anew() {
    let directory = Directory::new();
    let writer = LogWriter::start().unwrap();
    let logs = open(&directory.file("error.log"), &writer);
    logs.write(Level::Error, "before");
    writer.flush();
    fs::rename(directory.file("error.log"), directory.file("error.log.1")).unwrap();
    logs.write(Level::Error, "still to the old file");
    writer.reopen();
    logs.write(Level::Error, "after");
    writer.flush();
    assert_eq!(messages(&directory.read("error.log.1")), ["before", "still to the old file"]);
    assert_eq!(messages(&directory.read("error.log")), ["after"]);
    let mode = fs::metadata(directory.file("error.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777 & !0o044, 0o600, "0644 less what the umask takes");
}

#[test]
fn a_file_that_cannot_be_reopened_is_kept_and_reported() {
    let directory = Directory::new();
    let writer = LogWriter::start().unwrap();
    let main = open(&directory.file("error.log"), &writer);
    fs::create_dir(directory.file("sub")).unwrap();
    let logs = open(&directory.file("sub/other.log"), &writer);
    fs::rename(directory.file("sub"), directory.file("moved")).unwrap();
    writer.reopen();
    logs.write(Level::Error, "kept");
    writer.flush();
    assert_eq!(messages(&directory.read("moved/other.log")), ["kept"]);
    let text = directory.read("error.log");
    assert!(text.contains("[alert]"), "{text}");
    let path = directory.text("sub/other.log");
    assert_eq!(messages(&text), [format!("open() \"{path}\" failed (2: No such file or directory)")]);
    drop(main);
}

#[test]
fn a_disk_that_does_not_keep_up_costs_lines_and_the_number_is_told() {
    const LINES: usize = 40_000;
    let directory = Directory::new();
    let path = directory.file("slow.log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let slow_disk = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer = LogWriter::start().unwrap();
    let main = open(&directory.file("error.log"), &writer);
    let logs = open(&path, &writer);

    let line = "x".repeat(64);
    (0..LINES).for_each(|_| logs.write(Level::Error, &line));
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(slow_disk).lines().map(Result::unwrap);
        lines.take_while(|line| !line.ends_with(": end")).count()
    });
    writer.flush();
    logs.write(Level::Error, "end");
    let written = reader.join().unwrap();
    writer.flush();

    assert!(written < LINES);
    let text = directory.read("error.log");
    let told = format!(" log lines dropped, the queue of \"{}\" was full", path.to_str().unwrap());
    let dropped =
        messages(&text).into_iter().map(|line| line.strip_suffix(&told).unwrap().parse::<usize>().unwrap());
    assert_eq!(written + dropped.sum::<usize>(), LINES);
    assert!(text.contains("[warn]"), "{text}");
    drop(main);
}

/// A session whose access log has a path made of a variable, after a record for each value.
fn record_each(directory: &Directory, values: &[&str]) -> (Session, LogWriter) {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    gateway.change.put.formats = vec![format("test", Escape::Default, "$name")];
    let path = directory.text("$name.log");
    gateway.server().access_log = vec![access_log(&path, "test", None)];
    gateway.server().error_log = Some(vec![error_log(&directory.file("error.log"), Level::Error)]);
    let mut session = gateway.session("192.0.2.1:4000");
    for value in values {
        record(&mut session, value);
    }
    gateway.logs.flush();
    (session, gateway.logs)
}

fn record(session: &mut Session, name: &str) {
    session.values.set(&Arc::from("name"), name);
    access::record(session);
}

#[test]
fn a_path_with_variables_is_made_for_each_line() {
    let directory = Directory::new();
    let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let values: Vec<&str> = names.iter().chain(&names).map(String::as_str).collect();
    let (mut session, writer) = record_each(&directory, &values);
    for name in &names {
        assert_eq!(directory.read(&format!("{name}.log")), format!("{name}\n{name}\n"));
    }
    fs::remove_file(directory.file("s39.log")).unwrap();
    writer.reopen();
    record(&mut session, "s39");
    writer.flush();
    assert_eq!(directory.read("s39.log"), "s39\n");
}

#[test]
fn a_value_cannot_lead_a_log_out_of_its_directory() {
    let directory = Directory::new();
    fs::create_dir(directory.file("x")).unwrap();
    let _open = record_each(&directory, &["x/../../escaped", "nul\0"]);
    let text = directory.read("error.log");
    assert_eq!(text.matches("a log path made of variables leads elsewhere").count(), 2, "{text}");
    assert_eq!(fs::read_dir(directory.file("x")).unwrap().count(), 0);
    let gateway = Gateway::new("127.0.0.1:5000");
    assert!(access::AccessLog::link(&access_log("/var/../log/$pid", "x", None), &gateway.logs).is_err());
}

#[test]
fn a_directory_that_is_missing_is_reported() {
    let directory = Directory::new();
    let _open = record_each(&directory, &["missing/a"]);
    let path = directory.text("missing/a.log");
    assert!(
        directory.read("error.log").contains(&format!("\"{path}\" failed (2: No such file or directory)"))
    );
}

#[test]
fn lines_are_written_after_the_last_handle_is_gone() {
    let directory = Directory::new();
    let path = directory.file("error.fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer = LogWriter::start().unwrap();
    let logs = open(&path, &writer);
    logs.write(Level::Error, "bye");
    drop((logs, writer));
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert!(line.ends_with(": bye\n"), "{line}");
}
