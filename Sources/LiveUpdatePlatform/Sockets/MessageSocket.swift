// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// A received message: bytes, and descriptors that the receiver owns.
package struct ReceivedMessage: Sendable {
    /// The bytes as they were sent, or only the first of them if there was no room for all.
    package var bytes: [UInt8]
    /// The descriptors, which the receiver of the message closes.
    package var descriptors: [FileDescriptor]
    /// Whether bytes or descriptors did not fit, or RLIMIT_NOFILE was reached: the message is not whole then.
    package var isTruncated: Bool
    /// Whether a descriptor could not be opened here, usually because RLIMIT_NOFILE was reached. The message is
    /// truncated then, too.
    package var lacksDescriptors = false

    /// Closes the descriptors.
    package func close() { for descriptor in descriptors { try? closeDescriptor(descriptor) } }
}

/// Sockets of the Unix domain that keep the boundaries and the order of messages: `SOCK_SEQPACKET` of unix(7).
package enum MessageSocket {
    /// How many descriptors one message can carry.
    package static let mostDescriptors = Int(CSHIMS_MOST_DESCRIPTORS)

    /// How many bytes the path of a socket can have.
    package static let longestPath = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    /// Two sockets that are each other's peer, closed on exec: socketpair(2). The caller closes both.
    ///
    /// - Throws: EMFILE.
    package static func pair() throws(SystemCallError) -> (FileDescriptor, FileDescriptor) {
        var ends: [CInt] = [0, 0]
        let type = CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue)
        try systemCall("socketpair") { unsafe socketpair(AF_UNIX, type, 0, &ends) }
        return (FileDescriptor(rawValue: ends[0]), FileDescriptor(rawValue: ends[1]))
    }

    /// Makes a socket that listens at a path, which must not exist yet: bind(2), listen(2).
    ///
    /// - Parameters:
    ///   - path: the path of the socket, shorter than 108 bytes.
    ///   - mode: the permissions that the socket gets before it listens: they decide which users may connect.
    ///   - group: the group that the socket gets before it listens; nil keeps the group of this process.
    ///   - backlog: how many connections may wait to be accepted.
    /// - Returns: the listening socket.
    /// - Throws: EADDRINUSE when a file has that name, ENAMETOOLONG, EACCES and other errors of bind(2); EPERM for a
    ///   group that this process is not in.
    package static func listen(
        at path: String, mode: FilePermissions, group: UInt32? = nil, backlog: Int = 1024
    ) throws(SystemCallError) -> OwnedDescriptor {
        let made = try socket()
        let number = made.borrowed.rawValue
        try unsafe withAddress(path) { (address, length) throws(SystemCallError) in
            try systemCall("bind") { unsafe bind(number, address, length) }
        }
        if let group { try systemCall("chown") { unsafe chown(path, .max, group) } }
        try systemCall("chmod") { unsafe chmod(path, mode.rawValue) }
        try systemCall("listen") { Glibc.listen(number, CInt(backlog)) }
        return made
    }

    /// Connects to a socket that listens at a path: connect(2).
    ///
    /// - Parameters:
    ///   - path: the path of the socket.
    ///   - milliseconds: the longest wait for room in the queue of the listener; nil waits for ever.
    /// - Returns: the connected socket.
    /// - Throws: ENOENT when no file has that name, ECONNREFUSED when no process listens there, EACCES, EPROTOTYPE;
    ///   EAGAIN when the wait was too long.
    package static func connect(
        to path: String, within milliseconds: CInt? = nil
    ) throws(SystemCallError) -> OwnedDescriptor {
        let made = try socket()
        let number = made.borrowed.rawValue
        if let milliseconds {
            var limit = timeval(tv_sec: Int(milliseconds / 1000), tv_usec: Int(milliseconds % 1000) * 1000)
            let size = socklen_t(MemoryLayout<timeval>.size)
            try systemCall("setsockopt") { unsafe setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, size) }
        }
        try unsafe withAddress(path) { (address, length) throws(SystemCallError) in
            try systemCall("connect") { unsafe Glibc.connect(number, address, length) }
        }
        return made
    }

    private static func socket() throws(SystemCallError) -> OwnedDescriptor {
        let type = CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue)
        return OwnedDescriptor(
            taking: FileDescriptor(rawValue: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) }))
    }

    @unsafe
    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemCallError) -> Void
    ) throws(SystemCallError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count <= longestPath else { throw SystemCallError("bind", .fileNameTooLong) }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_un may be read as a sockaddr of its family.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Result { () throws(SystemCallError) in
                    try unsafe body(address, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        try result.get()
    }
}

extension FileDescriptor {
    /// Whether this is a socket of this kind.
    package var isMessageSocket: Bool { cshims_is_message_socket(rawValue) != 0 }

    /// The kernel's number of a socket. No other socket has this number for as long as the kernel runs: `SO_COOKIE` of
    /// socket(7).
    ///
    /// - Throws: ENOTSOCK, EBADF.
    package func socketCookie() throws(SystemCallError) -> UInt64 {
        var cookie: UInt64 = 0
        try systemCall("getsockopt") { unsafe cshims_socket_cookie(rawValue, &cookie) }
        return cookie
    }

    /// Sends a message, without ever waiting: sendmsg(2).
    ///
    /// - Parameters:
    ///   - bytes: the text of the message.
    ///   - descriptors: the receiver gets copies of them; at most ``MessageSocket/mostDescriptors``.
    /// - Throws: EAGAIN when the peer's queue is full, EPIPE or ECONNRESET when there is no peer any more, ETOOMANYREFS
    ///   when too many descriptors are in unread messages.
    package func send(_ bytes: [UInt8], _ descriptors: [FileDescriptor] = []) throws(SystemCallError) {
        let numbers = descriptors.map(\.rawValue)
        try systemCall("sendmsg") { unsafe cshims_send(rawValue, bytes, bytes.count, numbers, numbers.count) }
    }

    /// How ``receive(_:room:)`` takes a message.
    package enum Receiving: Sendable {
        /// Waits for a message.
        case waiting
        /// Takes a message that is in the queue, and does not wait for one.
        case now
        /// Leaves the message in the queue: the received descriptors are copies.
        case peeking
    }

    /// Receives a message: recvmsg(2). Its descriptors are closed on exec.
    ///
    /// - Returns: nil at the end: the peer has closed its socket.
    /// - Throws: EAGAIN when the queue is empty and this does not wait, ECONNRESET.
    package func receive(_ how: Receiving, room: Int = 8192) throws(SystemCallError) -> ReceivedMessage? {
        let flags: CInt =
            switch how {
            case .waiting: 0
            case .now: CInt(MSG_DONTWAIT)
            case .peeking: CInt(MSG_DONTWAIT) | CInt(MSG_PEEK)
            }
        var message = ReceivedMessage(bytes: [], descriptors: [], isTruncated: false)
        // Both buffers have the largest allowed size, and most messages are small: so neither is filled with zeros
        // first.
        try unsafe withUnsafeTemporaryAllocation(of: CInt.self, capacity: Int(CSHIMS_MOST_RECEIVED)) {
            (numbers) throws(SystemCallError) in
            try unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: room) {
                (bytes) throws(SystemCallError) in
                var number = 0
                var truncated: CInt = 0
                let count = try systemCall("recvmsg") {
                    unsafe cshims_receive(
                        rawValue, bytes.baseAddress, room, numbers.baseAddress, &number, &truncated, flags)
                }
                message.bytes = unsafe [UInt8](bytes.prefix(count))
                if number > 0 {
                    message.descriptors = unsafe numbers.prefix(number).map { FileDescriptor(rawValue: $0) }
                }
                message.isTruncated = truncated != 0
                message.lacksDescriptors = truncated == CSHIMS_LACKS_DESCRIPTORS
            }
        }
        return message.bytes.isEmpty && message.descriptors.isEmpty ? nil : message
    }

    /// Removes the next message from the queue without reading it.
    ///
    /// - Throws: EAGAIN when the queue is empty.
    package func discardMessage() throws(SystemCallError) {
        try systemCall("recvmsg") { cshims_discard(rawValue) }
    }

    /// Whether a message waits in the queue, even one without bytes. The message stays there, and its descriptors are
    /// not installed in this process. From now on messages come with their senders (`SO_PASSCRED` of unix(7)): that
    /// distinguishes a message without bytes from the end.
    package var hasMessage: Bool { cshims_has_message(rawValue) != 0 }

    /// Whether the descriptor is a socket that others can connect to: `SO_ACCEPTCONN` of socket(7).
    package var isListening: Bool {
        var listens: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return unsafe getsockopt(rawValue, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0
    }

    /// Whether its peer is closed: poll(2), `POLLHUP`.
    package var hasHungUp: Bool {
        var event = pollfd(fd: rawValue, events: 0, revents: 0)
        while unsafe poll(&event, 1, 0) == -1, errno == EINTR {}
        return event.revents & Int16(POLLHUP) != 0
    }

    /// Ends the connection in both directions, for all holders of the socket: shutdown(2). Bytes that were already sent
    /// can still be read; then the reader finds the end.
    package func shutDown() { _ = Glibc.shutdown(rawValue, CInt(SHUT_RDWR)) }

    /// Accepts a connection from the queue, closed on exec and without waiting: accept4(2).
    ///
    /// - Throws: EAGAIN when no connection waits, EMFILE, ECONNABORTED.
    package func acceptConnection() throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("accept4") { cshims_accept(rawValue) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// The name to which the socket is bound, in the Unix domain: getsockname(2). Empty for a socket without a name or
    /// of another domain, nil for a descriptor that is no socket.
    package var ownName: [UInt8]? { socketName(ofPeer: false) }

    /// The name to which the peer of the socket is bound: getpeername(2).
    package var peerName: [UInt8]? { socketName(ofPeer: true) }

    private func socketName(ofPeer: Bool) -> [UInt8]? {
        // The path of a sockaddr_un has at most 108 bytes.
        var name = [UInt8](repeating: 0, count: 108)
        let count = unsafe cshims_socket_name(rawValue, ofPeer ? 1 : 0, &name, name.count)
        return count < 0 ? nil : [UInt8](name.prefix(count))
    }

    /// The path that a socket of the Unix domain is bound to; nil for every other descriptor.
    package var boundPath: String? {
        guard let path = ownName?.prefix(while: { $0 != 0 }), !path.isEmpty else { return nil }
        return String(decoding: path, as: UTF8.self)
    }

    /// The process and the user of the peer when it connected: `SO_PEERCRED` of unix(7).
    ///
    /// - Throws: EBADF, ENOTSOCK.
    package func peer() throws(SystemCallError) -> (process: CInt, user: UInt32) {
        var process: pid_t = 0
        var user: uid_t = 0
        try systemCall("getsockopt") { unsafe cshims_peer(rawValue, &process, &user) }
        return (process, user)
    }

    /// Switches SO_LINGER of socket(7) off if it has a time, so that a close does not wait for the peer. A descriptor
    /// that is no socket stays as it is.
    package func stopLingering() {
        var now = linger()
        var size = socklen_t(MemoryLayout<linger>.size)
        let result = unsafe getsockopt(rawValue, SOL_SOCKET, SO_LINGER, &now, &size)
        guard result == 0, now.l_onoff != 0, now.l_linger != 0 else { return }
        var off = linger(l_onoff: 0, l_linger: 0)
        _ = unsafe setsockopt(rawValue, SOL_SOCKET, SO_LINGER, &off, size)
    }

    /// Whether the peer has not read all that this socket has sent: `SIOCOUTQ` of unix(7). False for a descriptor that
    /// is no socket.
    package var hasUnreadByPeer: Bool {
        var count: CInt = 0
        // The kernel counts a message down to one byte before it reports the room. A whole message counts for more than
        // 512 bytes.
        return unsafe ioctl(rawValue, UInt(TIOCOUTQ), &count) == 0 && count >= 512
    }

    /// The bytes, including the kernel's overhead, that may wait to be read by the peer: `SO_SNDBUF` of socket(7). 0
    /// for a descriptor that is no socket.
    package var sendRoom: Int {
        var room: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return unsafe getsockopt(rawValue, SOL_SOCKET, SO_SNDBUF, &room, &length) == 0 ? Int(room) : 0
    }

    /// Sets how many bytes, including the kernel's overhead, may wait to be read by the peer: `SO_SNDBUF` of socket(7).
    /// The kernel grants at most net.core.wmem_max.
    ///
    /// - Throws: EBADF, ENOTSOCK.
    package func setSendRoom(_ bytes: CInt) throws(SystemCallError) {
        var bytes = bytes
        try systemCall("setsockopt") {
            unsafe setsockopt(rawValue, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<CInt>.size))
        }
    }
}
