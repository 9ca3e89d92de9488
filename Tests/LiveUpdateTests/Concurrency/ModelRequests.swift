// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// One request for each call in the model's world.
extension ModelWorld {
    func step(_ generator: inout SeededGenerator, thread: Int) {
        switch generator.index(below: 100) {
        case 0..<14: create("\(generator.index(below: 24))")
        case 14..<44:
            let kind = [1, 2, Self.slow, 4, Self.unfreezable, Self.stubborn, Self.unpreservable][
                generator.index(below: 7)]
            preserve(pick(.outgoing, &generator), file: generator.index(below: files.count), token: kind)
        case 44..<54: close(pick(.outgoing, &generator))
        case 54..<62: retrieveSession("\(generator.index(below: 14))")
        case 62..<74: retrieve(pick(.incoming, &generator), generator.index(below: 3))
        case 74..<77: finish(pick(.incoming, &generator))
        case 77..<78: close(pick(.incoming, &generator))
        case 78..<79: close(pick(generator.next() % 2 == 0 ? .incoming : .outgoing, &generator), byForce: true)
        case 79..<80: abandon(pick(.incoming, &generator))
        case 80..<84: wrongDirection(pick(generator.next() % 2 == 0 ? .incoming : .outgoing, &generator))
        case 84..<88: borrowOutgoing()
        case 88..<92: borrowIncoming()
        case 92..<95: register("extra-\(thread)")
        case 95..<97: look()
        case 97..<99: refuse(generator.next() % 2 == 0)
        default: publish(discarding: generator.next() % 4 != 0, leavingOut: generator.next() % 2 == 0)
        }
    }

    /// A session that was opened once, and may be closed now.
    private func pick(_ direction: Direction, _ generator: inout SeededGenerator) -> Opened? {
        let all = model.look { state in
            state.sessions.enumerated().compactMap { number, session in
                session.direction == direction ? session.handle.map { Opened(number: number, handle: $0) } : nil
            }
        }
        // The newest sessions are most likely open.
        return all.isEmpty ? nil : all[all.count - 1 - generator.index(below: min(all.count, 16))]
    }

    private struct Opened {
        let number: Int
        let handle: Session

        func isOpen(_ state: Model.State) -> Bool {
            let session = state.sessions[number]
            return session.handle === handle && [.open, .finished].contains(session.progress)
        }

        func isAbandoned(_ state: Model.State) -> Bool {
            let session = state.sessions[number]
            return session.handle === handle && session.progress == .waiting
        }
    }

    // MARK: Outgoing sessions

    private func create(_ name: SessionName) {
        var made: Session?
        model.perform("create \(name)") { state in
            Model.Request(
                changes: [.name(name, .outgoing)], answer: state.names[.outgoing]?[name] == nil ? nil : .fileExists,
                others: [.fileExists])
        } _: {
            errno { made = try boot.createSession(name) }
        } _: { state, _ in
            guard let made else { return }
            state.names[.outgoing]?[name] = state.sessions.count
            state.sessions.append(Model.Session(name: name, direction: .outgoing, progress: .open, handle: made))
        }
    }

    private func preserve(_ opened: Opened?, file: Int, token: UInt64) {
        guard let opened else { return }
        model.perform("preserve file \(file) as \(token)") { state in
            var request = Model.Request(
                changes: [.session(opened.number), .file(file), .flb(.outgoing)],
                others: [.badFileDescriptor, .fileExists, .resourceBusy, .ioError])
            let holders = state.holders(file)
            // The end of another session that holds the file makes the file free.
            request.reads.formUnion(holders.map(Model.Part.session))
            if !opened.isOpen(state) {
                request.answer = .badFileDescriptor
            } else if state.sessions[opened.number].tokens[token] != nil {
                request.answer = .fileExists
            } else if !holders.isEmpty {
                request.answer = .resourceBusy
            } else if token == Self.unpreservable {
                request.answer = .ioError
            }
            return request
        } _: {
            errno { try opened.handle.preserve(files[file].descriptor, token: token) }
        } _: { state, answer in
            // Another thread may have closed it since.
            guard answer == nil, opened.isOpen(state) else { return }
            state.sessions[opened.number].tokens[token] = file
        }
    }

    // MARK: The end of a session

    private func close(_ opened: Opened?, byForce: Bool = false) {
        guard let opened else { return }
        let (number, direction) = (opened.number, opened.handle.direction)
        model.perform("close \(opened.handle.name), by force: \(byForce)") { state in
            var request = Model.Request(
                reads: [.boot, .refusals],
                changes: [.session(number), .name(opened.handle.name, direction), .flb(direction)],
                others: [.badFileDescriptor, .resourceBusy])
            if !opened.isOpen(state) {
                request.answer = .badFileDescriptor
            } else if !byForce, isRefused(number, state) {
                request.answer = .resourceBusy
            }
            return request
        } _: {
            byForce ? errno { try opened.handle.closeForcibly() } : errno { try opened.handle.close() }
        } _: { state, answer in
            guard opened.isOpen(state) else { return }
            if answer == nil { state.letGo(number, .closed) }
            if answer == .resourceBusy { state.sessions[number].progress = .waiting }
        }
    }

    private func abandon(_ opened: Opened?) {
        guard let opened else { return }
        model.perform("abandon \(opened.handle.name)") { state in
            Model.Request(
                changes: [.session(opened.number), .name(opened.handle.name, .incoming), .flb(.incoming)],
                answer: opened.isOpen(state) ? nil : .badFileDescriptor, others: [.badFileDescriptor])
        } _: {
            errno { try opened.handle.abandon() }
        } _: { state, answer in
            guard answer == nil, opened.isOpen(state) else { return }
            if state.sessions[opened.number].progress == .finished {
                state.letGo(opened.number, .closed)
            } else {
                state.sessions[opened.number].progress = .waiting
            }
        }
    }

    private func isRefused(_ number: Int, _ state: Model.State) -> Bool {
        let session = state.sessions[number]
        return session.direction == .incoming && state.isStubborn
            && session.tokens.keys.contains { Self.kind($0) == Self.stubborn }
    }

    private func finish(_ opened: Opened?) {
        guard let opened else { return }
        model.perform("finish \(opened.handle.name)") { state in
            var request = Model.Request(
                reads: [.boot, .refusals], changes: [.session(opened.number), .flb(.incoming)],
                others: [.badFileDescriptor, .resourceBusy])
            if !opened.isOpen(state) {
                request.answer = .badFileDescriptor
            } else if isRefused(opened.number, state) {
                request.answer = .resourceBusy
            }
            return request
        } _: {
            errno { try opened.handle.finish() }
        } _: { state, answer in
            guard answer == nil else { return }
            if opened.isOpen(state) { state.letGo(opened.number, .finished) }
            // Another thread abandoned it since, and noted that before: the finished session is closed by that.
            if opened.isAbandoned(state) { state.letGo(opened.number, .closed) }
        }
    }

    // MARK: Incoming sessions

    private func retrieveSession(_ name: SessionName) {
        var came: Session?
        model.perform("retrieve session \(name)") { state in
            let number = state.names[.incoming]?[name]
            var request = Model.Request(
                changes: [.name(name, .incoming)], others: [.noSuchFileOrDirectory, .invalidArgument])
            if let number {
                request.changes.insert(.session(number))
                if state.sessions[number].progress != .waiting { request.answer = .invalidArgument }
            } else {
                request.answer = .noSuchFileOrDirectory
            }
            return request
        } _: {
            errno { came = try boot.retrieveSession(name) }
        } _: { state, _ in
            guard let came, let number = state.names[.incoming]?[name] else { return }
            state.sessions[number].handle = came
            state.sessions[number].progress = .open
        }
    }

    private func retrieve(_ opened: Opened?, _ index: Int) {
        guard let opened else { return }
        let kind = [1, Self.stubborn, Self.unretrievable][index]
        let token = UInt64(opened.number + 1) * 100 + kind
        model.perform("retrieve \(token)") { state in
            var request = Model.Request(
                changes: [.session(opened.number)], others: [.badFileDescriptor, .noSuchFileOrDirectory, .ioError])
            if !opened.isOpen(state) {
                request.answer = .badFileDescriptor
            } else if state.sessions[opened.number].progress == .finished {
                request.answer = .noSuchFileOrDirectory
            } else if kind == Self.unretrievable {
                request.answer = .ioError
            }
            return request
        } _: {
            errno { _ = try opened.handle.retrieve(token: token) }
        }
    }

    private func wrongDirection(_ opened: Opened?) {
        guard let opened else { return }
        model.perform("a request of the other direction") { _ in
            Model.Request(answer: .invalidArgument)
        } _: {
            opened.handle.direction == .incoming
                ? errno { try opened.handle.preserve(files[0].descriptor, token: 1) }
                : errno { try opened.handle.finish() }
        }
    }
}
