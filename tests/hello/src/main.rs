//! An HTTP service for the demo and the tests. It listens on `PORT` and answers with what it was given:
//! `/` a greeting, `/health` 200 until `/sick` was asked for, `/env/NAME` a variable, `/file/PATH` a file's content,
//! `/exit/CODE` ends it, `/eat/MIB` takes memory, `/keep/MIB` for good.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

fn main() -> ExitCode {
    let port = env::var("PORT").unwrap_or_else(|_| "0".to_owned());
    let listener = match TcpListener::bind(format!("127.0.0.1:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("hello: can't listen on port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("hello: listening on port {port}");
    let sick = Arc::new(AtomicBool::new(false));
    for stream in listener.incoming().flatten() {
        let sick = sick.clone();
        thread::spawn(move || {
            if let Err(error) = answer(stream, &sick) {
                eprintln!("hello: {error}");
            }
        });
    }
    ExitCode::SUCCESS
}

fn answer(mut stream: TcpStream, sick: &AtomicBool) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let (status, body) = route(&path, sick);
    println!("hello: {path} {status}");
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn route(path: &str, sick: &AtomicBool) -> (&'static str, String) {
    let (first, rest) = path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or((path.trim_start_matches('/'), ""));
    match first {
        "" => {
            let name = env::var("GREETING").unwrap_or_else(|_| "world".to_owned());
            ("200 OK", format!("hello, {name}\n"))
        }
        "health" if sick.load(Ordering::Relaxed) => {
            ("503 Service Unavailable", "sick\n".to_owned())
        }
        "health" => ("200 OK", "well\n".to_owned()),
        "sick" => {
            sick.store(true, Ordering::Relaxed);
            ("200 OK", "from now on\n".to_owned())
        }
        "env" => ("200 OK", env::var(rest).unwrap_or_default()),
        "file" => match std::fs::read_to_string(rest) {
            Ok(text) => ("200 OK", text),
            Err(error) => ("404 Not Found", error.to_string()),
        },
        "exit" => {
            println!("hello: ends with {rest}");
            std::process::exit(rest.parse().unwrap_or(1))
        }
        "eat" => {
            let mib: usize = rest.parse().unwrap_or(1);
            // Touched, so that it counts.
            let memory = vec![1u8; mib << 20];
            (
                "200 OK",
                format!(
                    "{}\n",
                    memory.iter().map(|b| usize::from(*b)).sum::<usize>()
                ),
            )
        }
        "keep" => {
            let mib: usize = rest.parse().unwrap_or(1);
            // Touched, and never given back.
            std::mem::forget(vec![1u8; mib << 20]);
            ("200 OK", "kept\n".to_owned())
        }
        _ => ("404 Not Found", "no such path\n".to_owned()),
    }
}
