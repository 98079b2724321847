package preflight

import (
	"slices"
	"strconv"
	"strings"
)

// denied reports whether a privilege is lacking.
func denied(errno int) bool {
	return errno == 1227 || errno == 1044 || errno == 1142 || errno == 1143 || errno == 1045
}

// checkGrants finds out whether the account may read the log. Rows of tables are checkTables'.
func (c *check) checkGrants() error {
	show := "SHOW GRANTS"
	if !c.s.MariaDB() { // which counts roles in by itself
		var roles string
		if _, err := c.rows("SELECT CURRENT_ROLE()", func(row []string) { roles = strings.Join(row, "") }); err != nil {
			return err
		}
		if roles != "" && roles != "NONE" {
			show += " FOR CURRENT_USER() USING " + roles // as the server quotes them
		}
	}
	errno, err := c.rows(show, func(row []string) { c.grants = append(c.grants, privilegesOnAll(strings.Join(row, ""))...) })
	if err != nil || errno != 0 {
		if errno != 0 {
			c.report.Unchecked("whether the account may read the log: the server does not show its grants (error %d)", errno)
		}
		return err
	}
	var lacking []string
	if !c.may("REPLICATION SLAVE", "REPLICATION REPLICA") {
		lacking = append(lacking, "REPLICATION SLAVE")
	}
	if monitor := "REPLICATION CLIENT"; c.s.MariaDB() && !c.older(10, 5) && !c.may("BINLOG MONITOR", monitor) {
		lacking = append(lacking, "BINLOG MONITOR")
	} else if (!c.s.MariaDB() || c.older(10, 5)) && !c.may(monitor) {
		lacking = append(lacking, monitor)
	}
	if len(lacking) > 0 {
		c.wrong(CodeGrants, "the account lacks %s, with which it would read the log", strings.Join(lacking, " and ")).
			WithHint("GRANT %s ON *.* TO %s", strings.Join(lacking, ", "), c.account())
	}
	return nil
}

// may reports whether the account has one of some privileges on everything.
func (c *check) may(privileges ...string) bool {
	return slices.ContainsFunc(append(privileges, "ALL", "ALL PRIVILEGES"), func(p string) bool { return slices.Contains(c.grants, p) })
}

// privilegesOnAll reads a line of SHOW GRANTS, and lists the privileges that hold everywhere.
func privilegesOnAll(line string) (privileges []string) {
	list, ok := strings.CutPrefix(line, "GRANT ")
	list, target, on := strings.Cut(list, " ON ")
	if !ok || !on || !strings.HasPrefix(target, "*.* ") {
		return nil
	}
	for p := range strings.SplitSeq(list, ",") {
		privileges = append(privileges, strings.ToUpper(strings.TrimSpace(p)))
	}
	return privileges
}

// checkStatus looks at the filters of the log, which only its status shows.
func (c *check) checkStatus() error {
	if c.logOff {
		return nil
	}
	status := "SHOW MASTER STATUS"
	if !c.s.MariaDB() && !c.older(8, 2) {
		status = "SHOW BINARY LOG STATUS"
	}
	var only, except string
	errno, err := c.rows(status, func(row []string) {
		if len(row) >= 4 {
			only, except = row[2], row[3]
		}
	})
	if err != nil {
		return err
	}
	if denied(errno) {
		return nil // checkGrants has said so
	}
	if errno != 0 {
		c.report.Unchecked("whether the log leaves databases out: the server does not show its status (error %d)", errno)
		return nil
	}
	for option, databases := range map[string]string{"binlog_do_db": only, "binlog_ignore_db": except} {
		if databases != "" {
			c.wrong(CodeLogFilter, "%s is %s: statements are left out of the log by the database that happens to be chosen, TRUNCATE of another one's table too", option, databases).
				WithHint("%s", c.option("take "+option+" out"))
		}
	}
	return nil
}

// checkReplicas looks at whether the server is a replica that keeps what it gets to itself, and for a free server id.
func (c *check) checkReplicas() error {
	if value, ok := c.variable("log_replica_updates", "log_slave_updates"); ok && !on(value) && !c.logOff {
		is, known, err := c.isReplica()
		if err != nil {
			return err
		}
		name := "log_replica_updates"
		if _, there := c.variables[name]; !there {
			name = "log_slave_updates"
		}
		switch {
		case is:
			c.wrong(CodeReplicaLog, "the server is a replica, and %s is OFF, so that its log lacks the changes that it gets from its primary", name).
				WithHint("%s; or follow the primary", c.option(name+" = ON"))
		case !known:
			c.report.Unchecked("whether the server is a replica, whose log lacks what it gets because %s is OFF: the account may not see it", name)
		}
	}
	if c.o.ServerID == 0 {
		return nil
	}
	show := "SHOW REPLICAS"
	if c.s.MariaDB() || c.older(8, 0, 22) {
		show = "SHOW SLAVE HOSTS"
	}
	taken := false
	wanted := strconv.FormatUint(uint64(c.o.ServerID), 10)
	errno, err := c.rows(show, func(row []string) { taken = taken || row[0] == wanted })
	switch {
	case err != nil:
		return err
	case taken:
		// It may be this very stream, which has been cut off and is listed for a while still.
		c.warn(CodeServerID, "the server lists a replica of the id %s already, and of two of one id the older is cut off", wanted).
			WithHint("unless that is this stream, choose another server_id, or leave it 0")
	case errno != 0:
		c.report.Unchecked("whether another replica has the server id %s: the account may not see them", wanted)
	}
	return nil
}

// isReplica finds out whether the server gets changes from another one, or is set up to.
func (c *check) isReplica() (is, known bool, err error) {
	show := "SHOW REPLICA STATUS"
	switch {
	case c.s.MariaDB():
		show = "SHOW ALL SLAVES STATUS"
	case c.older(8, 0, 22):
		show = "SHOW SLAVE STATUS"
	}
	errno, err := c.rows(show, func([]string) { is = true })
	if err != nil || errno == 0 {
		return is, true, err
	}
	// What runs is seen by everybody.
	_, err = c.rows("SHOW GLOBAL STATUS LIKE 'Slave%_running'", func(row []string) {
		is = is || len(row) == 2 && row[1] != "OFF" && row[1] != "0"
	})
	return is, is, err
}
