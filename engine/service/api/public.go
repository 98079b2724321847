package api

// Public says of an error what customers are told of it, by the table of errors: nothing of what is stored, and no name of a
// machine.
func Public(err error) (code, message, suggestion string) {
	e := fromError(err)
	return string(e.Code), e.Message, e.Suggestion
}
