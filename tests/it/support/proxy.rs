//! A proxy before the receiver that cuts connections at any byte, or answers in its place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::loki::runtime;
use super::{address, http};

/// What becomes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// It is passed on, and the answer is passed back.
    Pass,
    /// Both connections are reset behind so many bytes of the request; a shorter one passes.
    CutRequest(usize),
    /// The receiver stores it, and the connection is reset behind so many bytes of the answer.
    CutAnswer(usize),
    /// These bytes are the answer, and the connection is closed behind them.
    Say(Vec<u8>),
    /// The same, after the receiver has stored it.
    StoreAndSay(Vec<u8>),
}

/// One request, as far as it was read, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// `Pass` also when a cut came too late to cut anything.
    pub(crate) act: Act,
}

type Plan = Box<dyn FnMut() -> Act + Send>;

/// Passes requests on to a receiver as its plan says, which is asked once for each of them.
pub(crate) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    plan: Mutex<Plan>,
    requests: Mutex<Vec<Request>>,
}

impl Proxy {
    pub(crate) fn start(to: SocketAddr, plan: impl FnMut() -> Act + Send + 'static) -> Self {
        let listener = runtime().block_on(TcpListener::bind(address(3100))).unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Mutex::default();
        let shared = Arc::new(Shared { to, plan: Mutex::new(Box::new(plan)), requests });
        let all = Arc::clone(&shared);
        // It ends with the test process.
        runtime().spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&all);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Self { addr, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests did not pass.
    pub(crate) fn acts(&self) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| request.act != Act::Pass).count()
    }
}

impl Shared {
    /// Serves a connection until either side has enough.
    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        // A connection that stays idle takes nothing from the plan.
        while client.peek(&mut [0]).await.is_ok_and(|len| len != 0) {
            let act = (self.plan.lock().unwrap())();
            let max = if let Act::CutRequest(max) = act { max } else { usize::MAX };
            let bytes = http::up_to(&mut client, max).await?;
            let (is_whole, answers) = (http::is_whole(&bytes), !matches!(act, Act::Say(_)));
            let mut loki = TcpStream::connect(self.to).await.ok()?;
            let mut answer = Vec::new();
            if answers {
                loki.write_all(&bytes).await.ok()?;
            }
            if answers && is_whole {
                answer = http::up_to(&mut loki, usize::MAX).await?;
            }
            let too_late = match &act {
                Act::CutRequest(_) => is_whole,
                Act::CutAnswer(max) => answer.len() <= *max,
                Act::Pass | Act::Say(_) | Act::StoreAndSay(_) => false,
            };
            let act = if too_late { Act::Pass } else { act };
            self.requests.lock().unwrap().push(Request { bytes, act: act.clone() });
            match act {
                Act::Pass => client.write_all(&answer).await.ok()?,
                Act::CutRequest(_) => return cut(&client, &loki),
                Act::CutAnswer(max) => {
                    client.write_all(&answer[..max]).await.ok()?;
                    return cut(&client, &loki);
                }
                Act::Say(bytes) | Act::StoreAndSay(bytes) => {
                    client.write_all(&bytes).await.ok()?;
                    return client.shutdown().await.ok();
                }
            }
        }
        None
    }
}

/// What is closed next sends a reset.
fn cut(client: &TcpStream, loki: &TcpStream) -> Option<()> {
    [client, loki].into_iter().try_for_each(TcpStream::set_zero_linger).ok()
}
