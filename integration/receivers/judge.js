// Answers each line of questions with a line of verdicts (receivers.go), by the library of Standard Webhooks.
const { Webhook, WebhookVerificationError } = require('standardwebhooks');

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { secret, requests } = JSON.parse(line);
  const webhook = new Webhook(secret);
  console.log(requests.map(({ headers, body }) => {
    try {
      webhook.verify(Buffer.from(body ?? '', 'base64'), headers, { jsonParse: false });
    } catch (problem) {
      if (problem instanceof WebhookVerificationError) return '0';
      throw problem;
    }
    return '1';
  }).join(''));
});
