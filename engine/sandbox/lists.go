package sandbox

// The practice's set-up. These tables do not depend on the seed, and but for staff
// and books not on the size of the practice.

// listed makes a table of a list. fill sets the columns of a row, counted from 0,
// between its key, which is the row's number, and its timestamps.
func listed(name, names string, rows int, fill func(row int64, set func(Value))) Table {
	return listedFrom(name, names, rows, func(row int64) int64 { return row + 1 }, fill)
}

// listedFrom is listed with keys of another kind.
func listedFrom(name, names string, rows int, key func(row int64) int64, fill func(row int64, set func(Value))) Table {
	return Table{
		Name: name, Columns: columnNames(names + " ts_4_insert ts_4_update"), Rows: int64(rows),
		fill: func(row int64, out []Value) {
			set := columns(out)
			set(integer(key(row)))
			fill(row, set)
			r := sequence(0, forList, row<<8|int64(len(name)))
			inserted := bookingFirst*daySeconds - 400*daySeconds + row*7*minute
			inserted += edgeOfDay(&r, inserted%daySeconds) - inserted%daySeconds
			set(dateTime(inserted))
			set(dateTime(touched(&r, inserted, 35)))
		},
	}
}

// state sets is_active and is_deleted.
func state(set func(Value), active, deleted bool) {
	set(flag(active && !deleted))
	set(flag(deleted))
}

// optional is text that is NULL when empty.
func optional(s string) Value {
	if s == "" {
		return Value{}
	}
	return text(s)
}

// lists are the tables of the set-up, in the order of schema.sql.
func (g *generator) lists() []Table {
	return []Table{
		appointmentStatusTable(), appointmentTypeTable(), g.bookTable(), g.templateTable(), cancellationReasonTable(),
		feeLevelTable(), feeScheduleTable(), paymentTypeTable(), itemCategoryTable(), itemTable(), expenseCategoryTable(),
		g.practitionerTable(), userRoleTable(), g.userTable(), locationTable(), healthFundTable(), thirdPartyTable(),
		referralSourceTable(), recallSetTable(), recallTypeTable(),
	}
}
