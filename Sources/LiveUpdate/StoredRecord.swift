public import Handover

/// A record of fixed length in the arena: what a handler or an FLB writes, and reads again without trusting it.
///
/// It says how it is laid out, and what cannot be; ``Storage/store(_:)`` and ``Storage/read(_:at:)`` do the rest. What has
/// no fixed length is stored beside it: the record has its offset and its length.
public protocol StoredRecord {
    /// What errors call it: its compatible string, for example.
    static var name: String { get }
    /// In bytes, all of which ``encode(into:)`` puts.
    static var length: Int { get }

    /// Takes a record apart. Any bytes can come: a number that leads somewhere or counts something is checked here.
    ///
    /// - Throws: `record`, when it cannot be one; the reader throws that by itself when the bytes end.
    init(_ reader: inout ByteReader) throws(ArenaError)

    /// Puts it together, in the order in which it is taken apart.
    func encode(into writer: inout ByteWriter)
}

extension Storage {
    /// Stores a record.
    ///
    /// - Returns: the offset from the arena's start: a handle.
    /// - Throws: ENOSPC at the arena's limit, or when its file system is full.
    public func store(_ record: some StoredRecord) throws(LiveUpdateError) -> UInt64 {
        var writer = ByteWriter(capacity: type(of: record).length)
        record.encode(into: &writer)
        precondition(writer.bytes.count == type(of: record).length, "\(type(of: record).name): not of its length")
        return try store(writer.bytes)
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO when that is outside of the arena, or cannot be such a record.
    public func read<Record: StoredRecord>(
        _: Record.Type = Record.self, at offset: UInt64
    ) throws(LiveUpdateError) -> Record {
        let bytes = try read(at: offset, count: UInt64(Record.length))
        do throws(ArenaError) {
            var reader = ByteReader(bytes, Record.name)
            return try Record(&reader)
        } catch {
            throw LiveUpdateError(error)
        }
    }
}
