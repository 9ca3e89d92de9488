// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateHandover

/// A record of fixed length in the arena. A handler or an FLB writes it, and checks it when it reads it again.
///
/// The type defines the layout and refuses impossible values. ``Storage/store(_:)`` and ``Storage/read(_:at:)`` do the
/// rest. Data without a fixed length is stored separately, and the record has its offset and its length.
public protocol StoredRecord {
    /// The name of the record in errors: its compatible string, for example.
    static var name: String { get }
    /// The length in bytes. ``encode(into:)`` appends as many.
    static var length: Int { get }

    /// Decodes a record. The bytes may be damaged, so every offset and every count is checked here.
    ///
    /// - Throws: `record` for bytes that cannot be such a record. The reader throws this by itself when the bytes end.
    init(_ reader: inout ByteReader) throws(ArenaError)

    /// Encodes the record, in the order in which it is decoded.
    func encode(into writer: inout ByteWriter)
}

extension Storage {
    /// Stores a record.
    ///
    /// - Returns: the handle of the record: its offset from the arena's start.
    /// - Throws: ENOSPC at the arena's limit, or when its file system is full.
    public func store(_ record: some StoredRecord) throws(LiveUpdateError) -> UInt64 {
        var writer = ByteWriter(capacity: type(of: record).length)
        record.encode(into: &writer)
        precondition(writer.bytes.count == type(of: record).length, "\(type(of: record).name): not of its length")
        return try store(writer.bytes)
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO when the record is outside of the arena, or when the bytes cannot be such a record.
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
