//! Where a process listens for the others.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Callers that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens at a process's entry in the list of hosts: at an address exactly as it is given, and where `localhost` is on this
/// machine only. Another name is the others' for this machine, and may mean something else here: Debian has its own name as
/// 127.0.1.1, a container may not know it yet. So that is every address of this machine.
pub(super) fn listen(entry: &str) -> io::Result<TcpListener> {
    let (host, port) = entry.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    let port: u16 = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        return bind(SocketAddr::new(address, port));
    }
    if host.eq_ignore_ascii_case("localhost") {
        return bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    match bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        // Without IPv6.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // Callers over IPv4 as well, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    // A run that starts again may listen where connections of the last one have not quite ended.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn address(entry: &str) -> SocketAddr {
        listen(entry).unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn addresses_are_taken_as_they_are_and_names_are_those_of_others() {
        for (entry, ip) in [("127.0.0.1:0", "127.0.0.1"), ("localhost:0", "127.0.0.1"), ("0.0.0.0:0", "0.0.0.0")] {
            assert_eq!(address(entry).await.ip().to_string(), ip, "{entry}");
        }
        // Nobody needs to know it here.
        let named = listen("no-such-host.invalid:0").unwrap();
        let address = named.local_addr().unwrap();
        assert!(address.ip().is_unspecified(), "{address}");
        std::net::TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        let taken = listen(&format!("another-name.invalid:{}", address.port())).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
