using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

var key = Convert.FromBase64String(File.ReadAllText(args[1]).Trim());
using var cipher = new AesGcm(key, 16);
using var output = Console.OpenStandardOutput();
long index = 0;
for (var line = Console.In.ReadLine(); line != null; line = Console.In.ReadLine(), index++)
{
    var part = JsonDocument.Parse(line).RootElement.GetProperty("encrypted_data").GetString()!.Split(':');
    var opened = Convert.FromBase64String(part[2]);
    var text = opened.AsSpan(0, opened.Length - 16);
    var plain = new byte[text.Length];
    cipher.Decrypt(Convert.FromBase64String(part[1]), text, opened.AsSpan(text.Length), plain,
        Encoding.ASCII.GetBytes($"stream:{args[0]}:{index}"));
    output.Write(plain);
}
