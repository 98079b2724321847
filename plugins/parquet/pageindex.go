package parquet

import (
	"github.com/parquet-go/parquet-go/format"
)

// pageIndex is what a reader needs to find rows in a column chunk without reading all of
// its pages (https://github.com/apache/parquet-format/blob/master/PageIndex.md).
type pageIndex struct {
	pages []indexedPage
	// bare says that a page has values of which no bounds are known. The format then has no
	// place for those of the others.
	bare bool
}

// indexedPage is one data page.
type indexedPage struct {
	at, size int64 // in the chunk, without the dictionary
	row      int64 // of the row group
	nulls    int64
	allNull  bool
	encoded
}

func (x *pageIndex) reset() { *x = pageIndex{pages: x.pages[:0]} }

func (x *pageIndex) add(at, size, row int64, p *page) {
	e := indexedPage{at: at, size: size, row: row, nulls: int64(p.nulls), allNull: p.nulls == p.rows}
	if !e.allNull {
		e.encoded = p.bounds.encoded()
		x.bare = x.bare || e.lo == nil
	}
	x.pages = append(x.pages, e)
}

// offsets returns the places of the pages of a chunk whose first data page is at start in
// the file.
func (x *pageIndex) offsets(start int64) *format.OffsetIndex {
	o := &format.OffsetIndex{}
	for _, p := range x.pages {
		o.PageLocations = append(o.PageLocations, format.PageLocation{
			Offset: start + p.at, CompressedPageSize: int32(p.size), FirstRowIndex: p.row,
		})
	}
	return o
}

// bounds returns the bounds of the pages, or nil if they are not known for all.
func (x *pageIndex) bounds(b *bounds) *format.ColumnIndex {
	if x.bare {
		return nil
	}
	i := &format.ColumnIndex{}
	ascending, descending := true, true
	var last *encoded
	for n := range x.pages {
		p := &x.pages[n]
		i.NullPages = append(i.NullPages, p.allNull)
		i.NullCounts = append(i.NullCounts, p.nulls)
		if p.allNull {
			i.MinValues, i.MaxValues = append(i.MinValues, []byte{}), append(i.MaxValues, []byte{})
			continue
		}
		i.MinValues, i.MaxValues = append(i.MinValues, p.lo), append(i.MaxValues, p.hi)
		if last != nil {
			lo, hi := b.compare(last.lo, p.lo), b.compare(last.hi, p.hi)
			ascending, descending = ascending && lo <= 0 && hi <= 0, descending && lo >= 0 && hi >= 0
		}
		last = &p.encoded
	}
	switch {
	case ascending:
		i.BoundaryOrder = format.Ascending
	case descending:
		i.BoundaryOrder = format.Descending
	}
	return i
}
