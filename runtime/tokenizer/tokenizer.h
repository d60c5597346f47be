// Text to token ids and back, with the ids of Hugging Face's tokenizers library.
#pragma once

#include "runtime/abi/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwench {

/// A byte-level BPE tokenizer over the tables of runtime/abi/tokenizer_format.h.
///
/// One thread at a time may use it: encoding keeps a cache of pieces of text.
class Tokenizer {
public:
  /// Opens a tokenizer section. `blob` must be 8-byte aligned and outlive the tokenizer; nothing is copied.
  /// Every index in it is checked, so that a damaged section is an error here and never a crash later.
  static Result<Tokenizer> open(std::span<const uint8_t> blob);

  Tokenizer(Tokenizer &&) noexcept;
  Tokenizer &operator=(Tokenizer &&) noexcept;
  ~Tokenizer();

  /// Token ids of `text`: what `tokenizers.Tokenizer.encode(text).ids` gives. Bytes that are not UTF-8 count
  /// as U+FFFD, as in Python's bytes.decode("utf-8", errors="replace"). With `parseSpecial` false, special
  /// tokens (such as
  /// <|im_end|>, not such as <think>) in the text are ordinary text, as with `encode_special_tokens = True`.
  std::vector<int32_t> encode(std::string_view text, bool parseSpecial = true) const;

  /// Text of `ids`: what `tokenizers.Tokenizer.decode(ids, skip_special_tokens=skipSpecial)` gives. Valid
  /// UTF-8: bytes that are none become U+FFFD. Ids that no token has give nothing.
  std::string decode(std::span<const int32_t> ids, bool skipSpecial = false) const;

  /// Id of the token with this text: an added token ("<|im_end|>"), else the vocabulary's token of these
  /// bytes.
  std::optional<int32_t> tokenId(std::string_view text) const;

  /// Bytes of one token, not always whole UTF-8 characters; empty for an id that no token has.
  std::string_view tokenBytes(int32_t id) const;

  /// Whether decoding without special tokens leaves this one out.
  bool isSpecial(int32_t id) const;

  /// Ids run from 0 to size() - 1. A model's logits may have more columns: padding that means nothing.
  int32_t size() const;

private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state;
};

/// Decodes token by token, holding back the bytes of a character until it is whole: what push() and finish()
/// return, put together, equals Tokenizer::decode() of all ids.
class StreamDecoder {
public:
  /// `tokenizer` must outlive the decoder.
  explicit StreamDecoder(const Tokenizer &tokenizer, bool skipSpecial = false)
      : tokenizer(&tokenizer), skipSpecial(skipSpecial) {}

  /// Text that is certain after this token; may be empty.
  std::string push(int32_t id);
  /// U+FFFD if an unfinished character was held back, else nothing. The decoder starts anew.
  std::string finish();

private:
  const Tokenizer *tokenizer;
  bool skipSpecial;
  std::string pending; // bytes of an unfinished character, at most 3
};

} // namespace qwench
