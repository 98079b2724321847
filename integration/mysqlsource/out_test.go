package mysqlsource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// outTypes are types of OUT parameters, what a procedure puts into them, and what is to arrive.
var outTypes = []struct{ typ, value, arrow, want string }{
	{"INT", "-2147483648", "int32", "-2147483648"},
	{"TINYINT(1)", "1", "int8", "1"},
	{"SMALLINT UNSIGNED", "65535", "uint16", "65535"},
	{"BIGINT", "-9223372036854775808", "int64", "-9223372036854775808"},
	{"BIGINT UNSIGNED", "18446744073709551615", "uint64", "18446744073709551615"},
	{"DECIMAL(10,2)", "0.10", "decimal(10, 2)", "0.1"},
	{"DECIMAL(38,10)", "-1234567890123456789012345678.0123456789", "decimal(38, 10)", "-1234567890123456789012345678.0123456789"},
	{"DECIMAL(5,0) UNSIGNED", "99999", "decimal(5, 0)", "99999"},
	{"DOUBLE", "0.1e0 + 0.2e0", "float64", "0.30000000000000004"},
	{"FLOAT", "16777217", "float32", "1.6777216e+07"},
	{"VARCHAR(30) CHARACTER SET utf8mb4", "'é 🙂 it''s'", "utf8", "é 🙂 it's"},
	{"VARCHAR(9) CHARACTER SET latin1", "'é'", "utf8", "é"},
	{"TEXT CHARACTER SET utf8mb4", "REPEAT('é', 20000)", "utf8", strings.Repeat("é", 20000)},
	{"ENUM('a','b')", "'b'", "utf8", "b"},
	{"VARBINARY(4)", "x'ff00fe'", "binary", "/wD+"},
	{"DATE", "'2024-02-29'", "date32", "2024-02-29"},
	{"DATETIME(6)", "'2024-02-29 23:59:59.000001'", "timestamp[us]", "2024-02-29 23:59:59.000001Z"},
	{"DATETIME", "'2024-02-29 23:59:59'", "timestamp[s]", "2024-02-29 23:59:59Z"},
	{"TIMESTAMP", "'2024-02-29 23:59:59'", "timestamp[s, tz=UTC]", "2024-02-29 23:59:59Z"},
	{"TIME(3)", "'-838:59:58.125'", "duration[ms]", "-3020398125ms"},
	{"YEAR", "2024", "uint16", "2024"},
	{"BIT(12)", "b'100000000001'", "uint64", "2049"},
	{"GEOMETRY", "ST_GeomFromText('POINT(1 2)')", "binary", "AQEAAAAAAAAAAADwPwAAAAAAAABA"},
	{"INT", "NULL", "int32", "(null)"},
	{"DECIMAL(10,2)", "NULL", "decimal(10, 2)", "(null)"},
	{"VARCHAR(9)", "NULL", "utf8", "(null)"},
	{"DATETIME(6)", "NULL", "timestamp[us]", "(null)"},
	{"BIT(12)", "NULL", "uint64", "(null)"},
}

// TestOutParametersOfEveryType: what a procedure leaves in its parameters is delivered when it
// gives nothing else, of the parameters' types, and exactly,
// in either protocol.
func TestOutParametersOfEveryType(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		var declared, set []string
		var header, types, want []string
		var nulls []any
		for i, c := range outTypes {
			name := fmt.Sprintf("p_%d", i)
			declared, set = append(declared, "OUT "+name+" "+c.typ), append(set, "SET "+name+" = "+c.value+";")
			header, types, want, nulls = append(header, name), append(types, c.arrow), append(want, c.want), append(nulls, nil)
		}
		db.Exec("DELIMITER //\nSET NAMES utf8mb4//\nCREATE PROCEDURE every(" + strings.Join(declared, ", ") + ") BEGIN " + strings.Join(set, " ") + " END //\n")
		url := db.DSN(db.Database())
		request := settings{"procedure_name": "every", "allowed_procedures": "*"}
		for name, with := range map[string]settings{
			"request, binary": {"request": request, "protocol": "binary"},
			"request, text":   {"request": request, "protocol": "text"},
			"request, out":    {"request": request, "result_set": "out"},
			"call":            {"call": "every", "args": nulls},
			"call, text":      {"call": "every", "args": nulls, "protocol": "text"},
			"call, out":       {"call": db.Database() + ".EVERY", "args": nulls, "result_set": "out"},
		} {
			with["url"], with["time_zone"] = url, "+00:00"
			got := mustRead(t, with)
			if len(got.rows) != 1 {
				t.Fatalf("%s: %d rows", name, len(got.rows))
			}
			for i, f := range got.schema.Fields() {
				if f.Name != header[i] || f.Type.String() != types[i] || !f.Nullable || got.rows[0][i] != want[i] {
					t.Errorf("%s, %s: column %s of %s, nullable %v, holds %.60q; want %s of %s: %.60q", name, outTypes[i].typ,
						f.Name, f.Type, f.Nullable, got.rows[0][i], header[i], types[i], want[i])
				}
			}
			if got.counters["out_parameters_dropped"] != 0 {
				t.Errorf("%s: counters %v", name, got.counters)
			}
		}
	})
}

// TestOutParametersAreChosen: beside a result set the parameters are dropped and counted,
// unless they are what was asked for.
func TestOutParametersAreChosen(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		// The forms of sakila's three procedures, and one that gives no result.
		db.Exec("CREATE TABLE inventory (id INT, film INT, store INT); INSERT INTO inventory VALUES (1, 7, 1), (2, 7, 1), (3, 7, 2);\nDELIMITER //\n" +
			"CREATE PROCEDURE film_in_stock(IN p_film_id INT, IN p_store_id INT, OUT p_film_count INT) READS SQL DATA BEGIN" +
			" SELECT id FROM inventory WHERE film = p_film_id AND store = p_store_id ORDER BY id;" +
			" SELECT COUNT(*) FROM inventory WHERE film = p_film_id AND store = p_store_id INTO p_film_count; END //\n" +
			"CREATE PROCEDURE film_not_in_stock(IN p_film_id INT, IN p_store_id INT, OUT p_film_count INT) READS SQL DATA BEGIN" +
			" SELECT id FROM inventory WHERE film <> p_film_id AND store = p_store_id;" +
			" SELECT COUNT(*) FROM inventory WHERE film <> p_film_id AND store = p_store_id INTO p_film_count; END //\n" +
			"CREATE PROCEDURE rewards_report(IN min_monthly_purchases TINYINT UNSIGNED, IN min_dollar_amount DECIMAL(10,2), OUT count_rewardees INT) READS SQL DATA" +
			" proc: BEGIN IF min_monthly_purchases = 0 THEN SELECT 'must be above 0'; LEAVE proc; END IF;" +
			" SELECT COUNT(*) FROM inventory INTO count_rewardees; SELECT id FROM inventory ORDER BY id; END //\n" +
			"CREATE PROCEDURE adds(INOUT total DECIMAL(12,2), IN more DECIMAL(12,2)) SET total = total + more //\n" +
			"CREATE PROCEDURE nothing() BEGIN END //\nCREATE PROCEDURE warns(OUT n INT) BEGIN SET SESSION group_concat_max_len = 4;" +
			" SELECT LENGTH(GROUP_CONCAT(id + 100)) FROM inventory INTO n; END //\n")
		ask := func(procedure, arguments string, more settings) settings {
			request := settings{"procedure_name": procedure, "allowed_procedures": "*"}
			if arguments != "" {
				request["arguments"] = arguments
			}
			with := settings{"url": db.DSN(db.Database()), "request": request}
			for name, value := range more {
				if name == "out_parameters" {
					request[name] = value
					continue
				}
				with[name] = value
			}
			return with
		}
		for _, c := range []struct {
			procedure, arguments string
			more                 settings
			header               string
			rows                 [][]string
			counters             map[string]int64
		}{
			{"film_in_stock", "[7, 1]", nil, "id", [][]string{{"1"}, {"2"}}, map[string]int64{"out_parameters_dropped": 1}},
			{"film_in_stock", "[7, 1]", settings{"result_set": 1}, "id", [][]string{{"1"}, {"2"}}, map[string]int64{"out_parameters_dropped": 1}},
			{"film_in_stock", "[7, 1]", settings{"result_set": "out"}, "p_film_count", [][]string{{"2"}}, map[string]int64{"result_sets_dropped": 1}},
			{"film_in_stock", "[7, 1]", settings{"out_parameters": true}, "p_film_count", [][]string{{"2"}}, map[string]int64{"result_sets_dropped": 1}},
			{"film_not_in_stock", "[7, 1]", settings{"result_set": "out"}, "p_film_count", [][]string{{"0"}}, map[string]int64{"result_sets_dropped": 1}},
			{"rewards_report", "[1, 12.50]", settings{"result_set": "out"}, "count_rewardees", [][]string{{"3"}}, map[string]int64{"result_sets_dropped": 1}},
			{"rewards_report", "[0, 12.50]", settings{"result_set": "out"}, "count_rewardees", [][]string{{"(null)"}}, map[string]int64{"result_sets_dropped": 1}},
			{"adds", "[9999999999.98, 0.01]", nil, "total", [][]string{{"9999999999.99"}}, nil},
			{"warns", "", settings{"warnings": "count"}, "n", [][]string{{"4"}}, map[string]int64{"warnings": 1}},
		} {
			for _, protocol := range []string{"binary", "text"} {
				with := ask(c.procedure, c.arguments, c.more)
				with["protocol"] = protocol
				got := mustRead(t, with)
				var header []string
				for _, f := range got.schema.Fields() {
					header = append(header, f.Name)
				}
				if wantRows(t, got, c.rows...); strings.Join(header, " ") != c.header || !slices.Equal(countedOf(got.counters), countedOf(c.counters)) {
					t.Errorf("%s, %v: columns %q, counters %v, want %v", c.procedure, c.more, header, got.counters, c.counters)
				}
			}
		}
		for _, c := range []struct {
			procedure string
			more      settings
			code      string
		}{
			{"nothing", nil, "mysql.no_result_set"},
			{"nothing", settings{"result_set": "out"}, "mysql.no_result_set"},
			{"nothing", settings{"result_set": "second"}, "mysql.settings"},
			{"nothing", settings{"result_set": -1}, "mysql.settings"},
			{"nothing", settings{"result_set": 1, "out_parameters": true}, "mysql.settings"},
			{"warns", nil, "mysql.warning"},
		} {
			_, err := read(t, ask(c.procedure, "", c.more))
			wantFault(t, err, c.code)
		}
	})
}

// countedOf are the counters that a test compares, in order.
func countedOf(counters map[string]int64) (list []string) {
	for _, name := range []string{"out_parameters_dropped", "result_sets_dropped", "warnings"} {
		if n := counters[name]; n != 0 {
			list = append(list, fmt.Sprint(name, "=", n))
		}
	}
	return list
}
