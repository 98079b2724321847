package mysql

import (
	"strconv"
	"strings"
)

// prepareCall gives the OUT and INOUT parameters of the setting call user variables, as a
// request does. A server takes nothing else for them in a statement that is text, and what it
// hands back of a prepared one is not what they hold: MariaDB gives a BIT's digits.
//
// A procedure whose parameters the account may not see is called as it stands, and the server
// says what it makes of that.
func (s *source) prepareCall() error {
	if s.settings.Call == "" || len(s.args) == 0 {
		return nil // it has no parameters
	}
	s.doing = "looking up the parameters of " + s.settings.Call
	parameters, err := s.callParameters()
	if isServerError(err) {
		err = nil
	}
	s.doing = "calling " + s.settings.Call
	if err != nil || len(parameters) != len(s.args) {
		return err
	}
	var places, inout []string
	var args, inoutArgs []any
	for i, p := range parameters {
		if p.mode == "IN" {
			places, args = append(places, "?"), append(args, s.args[i])
			continue
		}
		out := outParameter{p, outVariable(i)}
		places, s.outs = append(places, out.variable), append(s.outs, out)
		if p.mode == "INOUT" {
			inout, inoutArgs = append(inout, out.variable+" = ?"), append(inoutArgs, s.args[i])
		}
	}
	if len(s.outs) == 0 {
		return nil
	}
	s.query, s.args = s.query[:strings.LastIndexByte(s.query, '(')]+"("+strings.Join(places, ", ")+")", args
	return s.setVariables(inout, inoutArgs)
}

// checkInstants refuses arguments that a TIMESTAMP cannot hold in the session's zone: outside of its
// years, or skipped by the clocks. A server whose mode is not strict would make them another time,
// or none.
func (s *source) checkInstants(list []instantArgument) error {
	for _, a := range list {
		const unix = "UNIX_TIMESTAMP(CAST(? AS DATETIME(6)))"
		holds := ""
		err := s.texts("SELECT CAST("+unix+" > 0 AND "+unix+" < 2147483648 AND FROM_UNIXTIME("+unix+") = CAST(? AS DATETIME(6)) AS CHAR)",
			[]any{a.text, a.text, a.text, a.text}, func(row []string) { holds = row[0] })
		if err != nil {
			return err
		}
		if holds != "1" {
			return requestFault(codeArgument, "arguments", "argument %d (%s %s): expected a time that clocks show in the session's time zone, %s, from 1970-01-01 00:00:01 to 2038-01-19 03:14:07 of UTC",
				a.number, a.parameter.name, a.parameter.typ, s.session.facts["time_zone"]).
				WithHint("give a local time of that zone, or set time_zone to the one that is meant")
		}
	}
	return nil
}

// outVariable is the user variable that takes the parameter with that index.
func outVariable(i int) string { return "@cipherstream_" + strconv.Itoa(i+1) }

// setVariables gives INOUT parameters their values before the call.
func (s *source) setVariables(assignments []string, args []any) error {
	if len(assignments) == 0 {
		return nil
	}
	return s.texts("SET "+strings.Join(assignments, ", "), args, func([]string) {})
}

// callParameters lists the parameters of the setting call, as far as the account may see them.
func (s *source) callParameters() (list []parameterInfo, err error) {
	d, err := openDatabase(s)
	if err != nil {
		return nil, err
	}
	procedure := s.settings.Call
	if database, name, qualified := strings.Cut(procedure, "."); qualified {
		d.name, procedure = database, name
	}
	err = s.texts(parametersOf+" WHERE specific_schema = ? AND specific_name = ? AND routine_type = 'PROCEDURE' ORDER BY ordinal_position",
		[]any{d.name, procedure}, func(row []string) {
			if sameName(row[0], d.name, d.fold) && sameName(row[1], procedure, true) {
				list = append(list, parameterInfo{row[2], row[3], row[4]})
			}
		})
	return list, err
}
