//! An API server of Kubernetes, as far as an agent asks: list and watch of pods and nodes, with
//! versions that expire, errors, slow answers and tokens that change.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::{address, pause};

#[derive(Default)]
struct State {
    version: u64,
    /// Older versions are forgotten.
    oldest: u64,
    /// By resource and name.
    objects: BTreeMap<(String, String), Value>,
    /// Version, resource, kind of event, object.
    events: Vec<(u64, String, &'static str, Value)>,
    token: Option<String>,
    /// What the next requests are answered with instead; 0 is nothing at all.
    faults: Vec<u16>,
    delay: Duration,
    /// Watches of before are cut.
    cuts: u64,
    /// An expired version is said in the watch, and not by the status.
    says_expired_late: bool,
    requests: Vec<String>,
}

/// The server. It runs as long as the process.
#[derive(Clone)]
pub(crate) struct KubeApi {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl KubeApi {
    pub(crate) fn start() -> Self {
        let addr = address(6443);
        let listener = TcpListener::bind(addr).unwrap();
        let api = Self { addr, state: Arc::default() };
        let served = api.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        api
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Adds or changes an object.
    pub(crate) fn set(&self, resource: &str, name: &str, mut metadata: Value) {
        let mut state = self.state();
        state.version += 1;
        metadata["name"] = json!(name);
        metadata["resourceVersion"] = json!(state.version.to_string());
        let object = json!({"metadata": metadata});
        let key = (resource.to_owned(), name.to_owned());
        let kind = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        state.objects.insert(key, object.clone());
        let version = state.version;
        state.events.push((version, resource.to_owned(), kind, object));
    }

    pub(crate) fn remove(&self, resource: &str, name: &str) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        let mut object = state.objects.remove(&(resource.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        state.events.push((version, resource.to_owned(), "DELETED", object));
    }

    /// Forgets all versions before now, and cuts all watches.
    pub(crate) fn expire(&self, late: bool) {
        let mut state = self.state();
        state.version += 1;
        state.oldest = state.version;
        state.says_expired_late = late;
        state.events.clear();
        state.cuts += 1;
    }

    pub(crate) fn cut(&self) {
        self.state().cuts += 1;
    }

    pub(crate) fn expect(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub(crate) fn fail(&self, statuses: &[u16]) {
        self.state().faults = statuses.to_vec();
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// The requests so far, without the host.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let path = head.split(' ').nth(1)?.to_owned();
        let (delay, fault, refused) = {
            let mut state = self.state();
            state.requests.push(path.clone());
            let fault = if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) };
            let bearer = state.token.as_ref().map(|token| format!("Bearer {token}\r\n"));
            (state.delay, fault, bearer.is_some_and(|bearer| !head.contains(&bearer)))
        };
        pause(delay);
        let status = if refused { 401 } else { fault.unwrap_or(200) };
        match status {
            0 => return None,
            200 => {}
            _ => return answer(&mut stream, status, &json!({"kind": "Status", "code": status})),
        }
        let (resource, query) = path.strip_prefix("/api/v1/")?.split_once('?')?;
        let value = |name: &str| {
            query.split('&').find_map(|pair| Some(pair.split_once('=')?).filter(|it| it.0 == name))
        };
        let from = value("resourceVersion")?.1.parse().ok()?;
        match value("watch") {
            Some(_) => self.watch(&mut stream, resource, from),
            None => self.list(&mut stream, resource),
        }
    }

    fn list(&self, stream: &mut TcpStream, resource: &str) -> Option<()> {
        let list = {
            let state = self.state();
            let of = |((kind, _), object): (&(String, String), &Value)| {
                (kind == resource).then(|| object.clone())
            };
            let items: Vec<Value> = state.objects.iter().filter_map(of).collect();
            // As servers in Go say that there are none.
            let items = if items.is_empty() { Value::Null } else { json!(items) };
            json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items})
        };
        answer(stream, 200, &list)
    }

    fn watch(&self, stream: &mut TcpStream, resource: &str, mut from: u64) -> Option<()> {
        let (oldest, late, cuts) = {
            let state = self.state();
            (state.oldest, state.says_expired_late, state.cuts)
        };
        let expired = json!({"kind": "Status", "code": 410, "message": "too old"});
        if from < oldest && !late {
            return answer(stream, 410, &expired);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").ok()?;
        if from < oldest {
            return writeln!(stream, "{}", json!({"type": "ERROR", "object": expired})).ok();
        }
        while self.state().cuts == cuts {
            let events: Vec<_> = {
                let state = self.state();
                let is_new = |event: &&(u64, String, &str, Value)| from < event.0;
                state.events.iter().filter(is_new).cloned().collect()
            };
            for (version, of, kind, object) in events {
                from = version;
                if of == resource {
                    // In two pieces, as a network may bring it.
                    let line = json!({"type": kind, "object": object}).to_string() + "\n";
                    let (one, two) = line.split_at(line.len() / 2);
                    stream.write_all(one.as_bytes()).ok()?;
                    stream.flush().ok()?;
                    pause(Duration::from_millis(2));
                    stream.write_all(two.as_bytes()).ok()?;
                } else {
                    let object = json!({"metadata": {"resourceVersion": version.to_string()}});
                    writeln!(stream, "{}", json!({"type": "BOOKMARK", "object": object})).ok()?;
                }
            }
            pause(Duration::from_millis(5));
        }
        Some(())
    }
}

fn answer(stream: &mut TcpStream, status: u16, body: &Value) -> Option<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}
