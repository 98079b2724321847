package mail

import (
	"context"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Check looks whether the server can be reached, is encrypted as it has to be, and lets the sender log in. It sends nothing.
func (s *Sender) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	client, err := s.client(ctx)
	if err != nil {
		return fault.New(CodeConnection, fault.Usage, "the settings of the mail server cannot be used: %w", err)
	}
	connection, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		o := dialFailed(ctx, err)
		return fault.New(o.Code, fault.Connect, "the mail server cannot be used: %s", o.Message)
	}
	_ = client.CloseWithSMTPClient(connection) // it has said all that there is to know
	return nil
}
