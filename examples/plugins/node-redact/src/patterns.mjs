// What is looked for in a text. No pattern can take more than time in proportion to the text: every repetition is bounded,
// and a search begins only where a word or a number does.

const email = /(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}(?![\p{L}\p{N}-])/gu;

/** Australian numbers: 0412 345 678, (02) 9876 5432, +61 2 9876 5432. */
const phone = /(?<![\p{L}\p{N}+])(?:\+61[ -]?(?:\(0\))?|\(0(?=[2-478]\))|0)[2-478]\)?(?:[ -]?\d){8}(?![\p{L}\p{N}])/gu;

/** A Medicare card: eight digits, a check digit, the number of issue, and perhaps the number of the person on the card. */
const medicare = /(?<![\p{L}\p{N}])[2-6]\d{3}[ -]?\d{5}[ -]?\d(?:[ -/]?\d)?(?![\p{L}\p{N}])/gu;

const weights = [1, 3, 7, 9, 1, 3, 7, 9];

function isMedicare(text) {
  const digits = text.replace(/\D/g, '');
  const sum = weights.reduce((total, weight, i) => total + weight * Number(digits[i]), 0);
  return sum % 10 === Number(digits[8]);
}

/** The kinds by name, in the order in which they are replaced. */
export const kinds = {
  email: { pattern: email },
  medicare: { pattern: medicare, holds: isMedicare },
  phone: { pattern: phone },
};

/**
 * Replaces what is found by the name of its kind in brackets.
 * @returns {{text: string, found: number}}
 */
export function redact(text, names) {
  let found = 0;
  for (const name of names) {
    const { pattern, holds } = kinds[name];
    text = text.replace(pattern, (match) => {
      if (holds && !holds(match)) return match;
      found++;
      return `[${name}]`;
    });
  }
  return { text, found };
}
