package servers

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Key is a key of a store that may do less than the server's root.
type Key struct{ ID, Secret, Token string }

// Key makes a key that is allowed some actions, such as s3:GetObject, on every bucket, for an hour.
func (s *Store) Key(actions ...string) Key {
	s.tb.Helper()
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Action": actions, "Resource": []string{"arn:aws:s3:::*"}},
	}})
	if err != nil {
		s.tb.Fatal(err)
	}
	client := sts.New(sts.Options{
		Region: Region, BaseEndpoint: aws.String(s.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey(), s.SecretKey(), ""),
	})
	made, err := client.AssumeRole(context.Background(), &sts.AssumeRoleInput{
		Policy: aws.String(string(policy)),
		// MinIO has no roles, and reads neither.
		RoleArn: aws.String("arn:aws:iam:::role/tests"), RoleSessionName: aws.String("tests"),
	})
	if err != nil {
		s.tb.Fatalf("servers: making a key: %v", err)
	}
	c := made.Credentials
	return Key{ID: *c.AccessKeyId, Secret: *c.SecretAccessKey, Token: *c.SessionToken}
}
