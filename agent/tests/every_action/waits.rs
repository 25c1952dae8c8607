//! Waits: a port, a page, a program of the test's own. When they are in vain they end at the end of their time, and nothing has changed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use baton_model::time::Span;
use serde_json::json;

use super::{
    agent::Agent,
    cycle::go_through,
    picture::{self, files_below},
    row::{Outside, Row},
};

rows! {
    tcp("wait.tcp");
    http("wait.http");
    until("wait.until");
}

const SHORT: Span = Span::from_secs(2);

/// A page on a port of its own.
struct Page {
    address: SocketAddr,
    open: Mutex<Option<(Arc<AtomicBool>, thread::JoinHandle<()>)>>,
}

impl Page {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let page = Self { address: listener.local_addr().expect("an address"), open: Mutex::default() };
        page.serve(listener);
        page
    }

    fn serve(&self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let serving = thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nready");
            }
        });
        *self.open.lock().expect("whole") = Some((stop, serving));
    }

    fn close(&self) {
        if let Some((stop, serving)) = self.open.lock().expect("whole").take() {
            stop.store(true, Ordering::Relaxed);
            drop(TcpStream::connect(self.address));
            serving.join().expect("it does not panic");
        }
    }
}

#[async_trait]
impl Outside for Page {
    async fn picture(&self, _kept: &Path) -> String {
        format!("open: {}\n", TcpStream::connect(self.address).is_ok())
    }

    async fn spoil(&self) {
        self.close();
        // A program that somebody is just starting may hold it open for a moment longer.
        picture::until("it is closed", || TcpStream::connect(self.address).is_err()).await;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.close();
    }
}

async fn tcp(action: &'static str) {
    let page = Page::new();
    let params = json!({ "host": "127.0.0.1", "port": page.address.port(), "every": "100ms" });
    go_through(&Agent::new(), &Row::checks(action, params, SHORT, &page)).await;
}

async fn http(action: &'static str) {
    let page = Page::new();
    let params = json!({ "url": format!("http://{}/", page.address), "body_contains": "ready", "every": "100ms" });
    go_through(&Agent::new(), &Row::checks(action, params, SHORT, &page)).await;
}

/// A folder in which a program looks.
struct Folder(tempfile::TempDir);

impl Folder {
    fn mark(&self) -> PathBuf {
        self.0.path().join("ready")
    }
}

#[async_trait]
impl Outside for Folder {
    async fn picture(&self, _kept: &Path) -> String {
        files_below(self.0.path())
    }

    async fn spoil(&self) {
        fs::remove_file(self.mark()).expect("removed");
    }
}

async fn until(action: &'static str) {
    let folder = Folder(tempfile::tempdir().expect("a directory"));
    fs::write(folder.mark(), "").expect("written");
    let params =
        json!({ "argv": ["/bin/sh", "-c", format!("test -e '{}'", folder.mark().display())], "every": "100ms" });
    go_through(&Agent::new(), &Row::checks(action, params, SHORT, &folder)).await;
}
