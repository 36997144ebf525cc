//! Who listens where on this machine: whether a port is free, and which process has it. It reads `/proc/net/tcp` and the descriptors of
//! processes. What the system hides is unknown, not absent. Everything here blocks.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use tokio::net::TcpSocket;
use tradewind_core::workload::Protocol;

use super::{proc, reserve};

const LISTENS: &str = "0A";
const TCP: (&str, &str) = ("/proc/net/tcp", "/proc/net/tcp6");
const UDP: (&str, &str) = ("/proc/net/udp", "/proc/net/udp6");

/// One socket of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    listens: bool,
    inode: u64,
}

/// Who has a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// None where the system does not tell.
    pub pid: Option<i32>,
}

/// Who keeps a process from listening on a port of this machine's loopback address; none: nobody.
///
/// # Errors
/// The daemon can't try.
pub fn holder(number: u16, protocol: Protocol) -> io::Result<Option<Holder>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
    let (tried, names) = if protocol == Protocol::Udp {
        (UdpSocket::bind(address).map(drop), UDP)
    } else {
        (bind(address).map(drop), TCP)
    };
    match tried {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let inodes: Vec<u64> = sockets(names)
                .unwrap_or_default()
                .into_iter()
                .filter(|s| s.port == number)
                .map(|s| s.inode)
                .collect();
            Ok(Some(Holder {
                pid: owner(&inodes),
            }))
        }
        // One of the numbers that this user may not have: the process will say so.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(e) => Err(e),
    }
}

/// A number on which nobody listens, at whichever address.
///
/// # Errors
/// There is none, or the daemon can't look.
pub fn free() -> io::Result<u16> {
    const ATTEMPTS: u32 = 64;
    for _ in 0..ATTEMPTS {
        // The system gives out numbers in a random order, so a number just freed is unlikely to be taken by somebody else before the process
        // listens on it.
        let number = bind((Ipv4Addr::UNSPECIFIED, 0).into())?
            .local_addr()?
            .port();
        match bind((Ipv6Addr::UNSPECIFIED, number).into()) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) if reserve::is_own(&e) => return Err(e),
            // The number may be asked for by either protocol.
            _ if UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number))
                .is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse) => {}
            _ => return Ok(number),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "every free port found is taken",
    ))
}

/// It does not listen, so nobody can connect to it meanwhile.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // As servers do: connections that have just ended keep nobody from it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The sockets that a connection to this address may reach, those of that very address before those of all addresses.
///
/// # Errors
/// The system does not tell.
pub(super) fn listening(at: SocketAddr) -> io::Result<Vec<u64>> {
    let address = at.ip().to_canonical();
    let all: Vec<Socket> = sockets(TCP)?
        .into_iter()
        .filter(|s| s.port == at.port() && s.listens)
        .collect();
    let exact: Vec<u64> = all
        .iter()
        .filter(|s| s.address == address)
        .map(|s| s.inode)
        .collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    Ok(all
        .iter()
        .filter(|s| s.address.is_unspecified())
        .map(|s| s.inode)
        .collect())
}

/// A descriptor with which one process holds a socket.
pub(super) type Held = (String, u64);

/// Which of these processes listens there, by its descriptor. None: the system does not tell. It never is somebody else who listens.
///
/// # Errors
/// Who listens instead, for people.
pub(super) fn answers(
    pids: impl Iterator<Item = i32>,
    at: SocketAddr,
) -> Result<Option<Held>, String> {
    // Where the system does not tell, the answer is all there is.
    let Ok(listening) = listening(at) else {
        return Ok(None);
    };
    let (number, mut hidden) = (at.port(), false);
    for pid in pids {
        match held_by(pid, &listening) {
            Ok(Some(held)) => return Ok(Some(held)),
            Ok(None) => {}
            Err(error) => {
                hidden |= error.kind() == io::ErrorKind::PermissionDenied || reserve::is_own(&error)
            }
        }
    }
    match owner(&listening) {
        Some(pid) => Err(format!(
            "port {number} is answered by something that is not of this replica (pid {pid})"
        )),
        // What of it runs as another user shows nobody what it holds.
        None if hidden => Ok(None),
        None if listening.is_empty() => Err(format!(
            "the replica does not listen on port {number}: something else answers there"
        )),
        None => Err(format!(
            "port {number} is answered by something that is not of this replica"
        )),
    }
}

/// The descriptor with which a process holds one of these sockets.
///
/// # Errors
/// Its descriptors may not be looked at.
fn held_by(pid: i32, inodes: &[u64]) -> io::Result<Option<Held>> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        if let Some(inode) = inode(&entry.path()).filter(|i| inodes.contains(i)) {
            return Ok(Some((entry.path().display().to_string(), inode)));
        }
    }
    Ok(None)
}

/// Whether this descriptor of a process is still that socket.
pub(super) fn is_still(descriptor: &str, socket: u64) -> bool {
    inode(std::path::Path::new(descriptor)) == Some(socket)
}

fn inode(descriptor: &std::path::Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Some process that holds one of these sockets.
fn owner(inodes: &[u64]) -> Option<i32> {
    if inodes.is_empty() {
        return None;
    }
    proc::pids()
        .ok()?
        .into_iter()
        .find(|pid| held_by(*pid, inodes).is_ok_and(|held| held.is_some()))
}

fn sockets((v4, v6): (&str, &str)) -> io::Result<Vec<Socket>> {
    let mut all = read(v4)?;
    // A machine without IPv6 has no such file.
    match read(v6) {
        Err(e) if reserve::is_own(&e) => return Err(e),
        other => all.extend(other.unwrap_or_default()),
    }
    Ok(all)
}

fn read(path: &str) -> io::Result<Vec<Socket>> {
    Ok(fs::read_to_string(path)?
        .lines()
        .skip(1)
        .filter_map(parse)
        .collect())
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
fn parse(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Socket {
        address: parse_address(address)?,
        port,
        listens: *fields.get(3)? == LISTENS,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of 32 bits as they lie in memory.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |i: usize| {
        Some(
            u32::from_str_radix(text.get(i * 8..i * 8 + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut octets = [0; 16];
    for (i, part) in octets.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(i)?);
    }
    let v6 = Ipv6Addr::from(octets);
    Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listening_socket_is_found_with_its_process() {
        let this = rustix::process::getpid().as_raw_nonzero().get();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let number = listener.local_addr().unwrap().port();
            assert_eq!(
                holder(number, Protocol::Http).unwrap(),
                Some(Holder { pid: Some(this) }),
                "{address}"
            );
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
            let inodes = listening(at).unwrap();
            let (descriptor, inode) = held_by(this, &inodes).unwrap().unwrap();
            assert!(is_still(&descriptor, inode));
            assert_eq!(
                answers([this].into_iter(), at),
                Ok(Some((descriptor, inode)))
            );
            let told = answers(std::iter::empty(), at).unwrap_err();
            assert!(
                told.contains(&format!("not of this replica (pid {this})")),
                "{told}"
            );
            drop(listener);
            assert_eq!(holder(number, Protocol::Http).unwrap(), None, "{address}");
            assert!(listening(at).unwrap().is_empty());
        }
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = datagrams.local_addr().unwrap().port();
        assert_eq!(
            holder(number, Protocol::Udp).unwrap(),
            Some(Holder { pid: Some(this) })
        );
        assert_eq!(holder(number, Protocol::Tcp).unwrap(), None);
        let number = free().unwrap();
        TcpListener::bind(("0.0.0.0", number)).unwrap();
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        assert_eq!(parse_address(&loopback), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(parse_address(&"0".repeat(32)), Some("::".parse().unwrap()));
        assert_eq!(parse_address("xyz"), None);
        let line = format!(
            "   0: {loopback}:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 0"
        );
        assert_eq!(
            parse(&line),
            Some(Socket {
                address: "127.0.0.1".parse().unwrap(),
                port: 8080,
                listens: true,
                inode: 4711
            })
        );
    }
}
