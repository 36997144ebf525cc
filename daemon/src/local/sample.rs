//! The service of `dev`: it answers HTTP with one page, on the port of the variable `PORT`, until it is ended.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::Error;

/// The most bytes of a request's head that are read.
const HEAD: u64 = 16 << 10;
/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// # Errors
/// `PORT` is no port, or it can't be listened on.
pub fn run() -> Result<(), Error> {
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| io::Error::other("the variable PORT is no port"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening on port {port}");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            if let Err(error) = answer(&stream) {
                eprintln!("no answer was given: {error}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(HEAD)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // A client that is still sending would take a closed connection for an error.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let page = page();
    let path = request.split(' ').nth(1).unwrap_or("/");
    println!("GET {} from {}", path.escape_debug(), stream.peer_addr()?);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    )
}

fn page() -> String {
    let greeting = env::var("GREETING").unwrap_or_else(|_| "hello".to_owned());
    format!("{greeting} from Tradewind\n")
}
