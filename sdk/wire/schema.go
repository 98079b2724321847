package wire

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
)

// Slots of the tables of Schema.fbs, counted from zero.
const (
	schemaEndianness = 0
	schemaFields     = 1
	schemaMetadata   = 2

	fieldName       = 0
	fieldNullable   = 1
	fieldTypeType   = 2
	fieldType       = 3
	fieldDictionary = 4
	fieldChildren   = 5
	fieldMetadata   = 6

	keyValueKey   = 0
	keyValueValue = 1
)

// maxSchemaText bounds the names and metadata copied out of a schema message. A flatbuffer may point at the same
// string any number of times, so the size of the message alone bounds nothing.
const maxSchemaText = 2 * MaxMetadataBytes

// schemaMessage makes the metadata of the schema message. It runs once per stream and on our own schema, so that
// arrow's slower implementation is good enough.
func schemaMessage(schema *arrow.Schema) ([]byte, error) {
	var c schemaCapture
	w := ipc.NewWriterWithPayloadWriter(&c, ipc.WithSchema(schema))
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("wire: encoding the schema: %w", err)
	}
	return c.metadata, nil
}

// schemaCapture is an ipc.PayloadWriter that keeps the metadata of the one message written to it.
type schemaCapture struct{ metadata []byte }

func (*schemaCapture) Start() error { return nil }
func (*schemaCapture) Close() error { return nil }
func (c *schemaCapture) WritePayload(p ipc.Payload) error {
	m := p.Meta()
	defer m.Release()
	c.metadata = append(c.metadata, m.Bytes()...)
	return nil
}

// schemaParser turns a schema message of a peer into an arrow.Schema. Arrow's own parser is not used: it trusts the
// message, and a crafted one makes it recurse or allocate without end, which no recover catches.
type schemaParser struct {
	f      *flatbuf
	err    error
	fields int
	text   int
}

// parseSchema parses the header of a schema message.
func parseSchema(t table) (*arrow.Schema, error) {
	p := &schemaParser{f: t.f}
	if e := t.int16(schemaEndianness, 0); e != 0 {
		return nil, unsupported("the stream is big-endian; expected little-endian")
	}
	var fields []arrow.Field
	t.tables(schemaFields, func(t table) { fields = append(fields, p.field(t, 1)) })
	md := p.metadata(t, schemaMetadata)
	if p.err != nil {
		return nil, p.err
	}
	if p.f.err != nil {
		return nil, fmt.Errorf("schema message: %w", p.f.err)
	}
	return arrow.NewSchema(fields, &md), nil
}

// fail keeps the first error and stops the walk.
func (p *schemaParser) fail(err error) {
	if p.f.err == nil {
		p.err, p.f.err = err, err
	}
}

func (p *schemaParser) string(b []byte) string {
	// 32 stands for the memory that a field or a metadata entry takes beside its text.
	if p.text += len(b) + 32; p.text > maxSchemaText {
		p.fail(fmt.Errorf("%w: names and metadata of a message exceed %d bytes", ErrTooLarge, maxSchemaText))
		return ""
	}
	return string(b)
}

func (p *schemaParser) metadata(t table, slot int) arrow.Metadata {
	var keys, values []string
	t.tables(slot, func(kv table) {
		keys = append(keys, p.string(kv.bytes(keyValueKey)))
		values = append(values, p.string(kv.bytes(keyValueValue)))
	})
	return arrow.NewMetadata(keys, values)
}

// customMetadata is that of a message.
func customMetadata(whole table) (arrow.Metadata, error) {
	if _, has := whole.at(messageMetadata, 4); !has {
		return arrow.Metadata{}, whole.f.err
	}
	p := &schemaParser{f: whole.f}
	md := p.metadata(whole, messageMetadata)
	if p.err != nil {
		return arrow.Metadata{}, p.err
	}
	return md, p.f.err
}

// field parses a field and its children. The type is null when the walk has failed.
func (p *schemaParser) field(t table, depth int) arrow.Field {
	failed := arrow.Field{Type: arrow.Null}
	if p.fields++; p.fields > maxFields {
		p.fail(fmt.Errorf("%w: the schema has more than %d fields", ErrTooLarge, maxFields))
		return failed
	}
	f := arrow.Field{Name: p.string(t.bytes(fieldName)), Nullable: t.bool(fieldNullable)}
	here := &layout{name: f.Name}
	if depth > maxDepth {
		p.fail(unsupported("%s is nested more than %d levels deep", here, maxDepth))
		return failed
	}
	if _, ok := t.at(fieldDictionary, 4); ok {
		p.fail(unsupported("%s is dictionary-encoded; decode it before it is sent", here))
		return failed
	}
	var children []arrow.Field
	t.tables(fieldChildren, func(t table) { children = append(children, p.field(t, depth+1)) })
	f.Metadata = p.metadata(t, fieldMetadata)
	typ, _ := t.table(fieldType)
	if p.f.err != nil {
		return failed
	}
	dt, err := p.parseType(t.uint8(fieldTypeType, 0), typ, children)
	if err == nil && p.f.err == nil {
		dt, f.Metadata, err = extension(dt, f.Metadata)
	}
	if err != nil {
		p.fail(fmt.Errorf("%w (%s)", err, here))
		return failed
	}
	f.Type = dt
	return f
}

// extension replaces a storage type by the extension type that the metadata names, and takes the two keys out of the
// metadata, if this process has registered that type. Otherwise the storage and all metadata pass through, as Arrow
// asks.
func extension(storage arrow.DataType, md arrow.Metadata) (arrow.DataType, arrow.Metadata, error) {
	name, ok := md.GetValue(ipc.ExtensionTypeKeyName)
	if !ok {
		return storage, md, nil
	}
	ext := arrow.GetExtensionType(name)
	if ext == nil {
		return storage, md, nil
	}
	param, _ := md.GetValue(ipc.ExtensionMetadataKeyName)
	dt, err := ext.Deserialize(storage, param)
	if err != nil {
		return nil, md, fmt.Errorf("%w: extension type %.64q: %w", ErrMalformed, name, err)
	}
	// The bodies are laid out by the storage type that the peer declared; an extension type over another one would
	// misread them.
	if dt == nil || !arrow.TypeEqual(dt.StorageType(), storage) {
		return nil, md, malformed("extension type %.64q does not have storage %s", name, storage)
	}
	var keys, values []string
	for i, k := range md.Keys() {
		if k != ipc.ExtensionTypeKeyName && k != ipc.ExtensionMetadataKeyName {
			keys, values = append(keys, k), append(values, md.Values()[i])
		}
	}
	return dt, arrow.NewMetadata(keys, values), nil
}
