//! An agent that has nothing to do, and one that cannot do it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use rustix::process::Signal;

use crate::agent::{APART, Agent, Config, Start};
use crate::expect::Rules;
use crate::files::{Library, Log};
use crate::measure::{Status, pin, threads_cpu};
use crate::table::Figures;

/// How long an agent may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(10);

/// An empty file: the time until `/ready` says so, and what memory and disk it takes.
pub(crate) fn idle(library: &Library, binary: &Path, time: Duration) -> anyhow::Result<Figures> {
    pin(APART.rest)?;
    let folder = tempfile::tempdir_in(&library.folder)?;
    let path = folder.path().join("empty.log");
    fs_err::File::create(&path)?;
    let admin = free_port()?;
    let args = config(&path.display().to_string(), Rules::Default, admin).write(folder.path())?;
    let agent = Agent::start(binary, &args, folder.path(), APART, &Start::default())?;
    while !is_ready(admin) {
        if READY_MAX < agent.start.elapsed() {
            bail!("not ready within {READY_MAX:?}: {}", agent.said());
        }
    }
    let ready = agent.start.elapsed();
    let cpu = threads_cpu(agent.pid());
    std::thread::sleep(time);
    let idle = threads_cpu(agent.pid()) - cpu;
    let status = Status::of(agent.pid());
    let mut figures = Figures::default();
    figures.add("ready ms", ready.as_secs_f64() * 1000.0);
    figures.add("CPU ms/s", idle.as_secs_f64() * 1000.0 / time.as_secs_f64());
    figures.add("peak MiB", f64::from(status.peak_kib) / 1024.0);
    figures.add("resident MiB", f64::from(status.resident_kib) / 1024.0);
    figures.add("binary MiB", stripped_len(binary, folder.path())? as f64 / f64::from(1 << 20));
    agent.stop(Some(Signal::TERM))?;
    Ok(figures)
}

/// A Loki that refuses connections.
pub(crate) fn dead(
    library: &mut Library,
    binary: &Path,
    log: Log,
    time: Duration,
) -> anyhow::Result<Figures> {
    let written = library.get(log)?;
    pin(APART.rest)?;
    let folder = tempfile::tempdir_in(&library.folder)?;
    let args = config(&written.glob, log.rules, free_port()?).write(folder.path())?;
    let agent = Agent::start(binary, &args, folder.path(), APART, &Start::default())?;
    std::thread::sleep(time);
    let (status, cpu) = (Status::of(agent.pid()), threads_cpu(agent.pid()));
    let mut figures = Figures::default();
    figures.add("CPU ms/s", cpu.as_secs_f64() * 1000.0 / time.as_secs_f64());
    figures.add("peak MiB", f64::from(status.peak_kib) / 1024.0);
    agent.stop(Some(Signal::KILL))?;
    Ok(figures)
}

fn config(glob: &str, rules: Rules, admin: SocketAddr) -> Config<'_> {
    Config {
        // Nobody listens on this port.
        loki: SocketAddr::from(([127, 0, 0, 1], 1)),
        admin: Some(admin),
        glob,
        rules: rules.yaml(),
        age_max: Duration::from_secs(1),
        streams: 100_000,
    }
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The size of the binary without symbols; with them where there is no `strip`.
fn stripped_len(binary: &Path, folder: &Path) -> anyhow::Result<u64> {
    let stripped = folder.join("stripped");
    let is_done = Command::new("strip").arg("-o").arg(&stripped).arg(binary).status();
    let path = if is_done.is_ok_and(|status| status.success()) { &stripped } else { binary };
    Ok(fs_err::metadata(path)?.len())
}
