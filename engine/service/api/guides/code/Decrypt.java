import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.spec.*;

public class Decrypt {
    public static void main(String[] args) throws Exception {
        Base64.Decoder base64 = Base64.getDecoder();
        SecretKeySpec key = new SecretKeySpec(base64.decode(Files.readString(Path.of(args[1])).trim()), "AES");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        OutputStream out = new BufferedOutputStream(System.out);
        long index = 0;
        for (String line = in.readLine(); line != null; line = in.readLine(), index++) {
            // The only member's value is ASCII without escapes.
            String[] part = line.substring(line.indexOf(":\"") + 2, line.lastIndexOf('"')).split(":");
            Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
            cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, base64.decode(part[1])));
            cipher.updateAAD(("stream:" + args[0] + ":" + index).getBytes(StandardCharsets.US_ASCII));
            out.write(cipher.doFinal(base64.decode(part[2])));
        }
        out.flush();
    }
}
