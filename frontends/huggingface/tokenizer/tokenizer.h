// A model directory's tokenizer and chat template, for a compiled model.
#pragma once

#include "runtime/abi/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwench::hf {

/// The text of a tokenizer.json as the blob of runtime/abi/tokenizer_format.h.
///
/// Supported is what the Qwen models have: a BPE model over the byte alphabet with every byte in it,
/// normalizer null or NFC, pre-tokenizer Split by a regular expression (Isolated) and ByteLevel without its
/// own, decoder ByteLevel, post-processor null or ByteLevel, added tokens of all kinds. What else would
/// change ids or text is an error; where the tokenizers library assigns added tokens other ids than the file
/// says, too. Truncation and padding are left out, as transformers leaves them out.
Result<std::vector<uint8_t>> buildTokenizerBlob(std::string_view tokenizerJson);

/// The blob of DIR/tokenizer.json, checked against DIR/tokenizer_config.json if that exists: the same added
/// tokens, no tokens put around the text, no other pieces of meaning. Errors name the file.
Result<std::vector<uint8_t>> readTokenizerBlob(const std::string &directory);

/// The chat template: DIR/chat_template.jinja, else "chat_template" of DIR/tokenizer_config.json (a string,
/// or a list with one named "default"); empty if there is none. It has been parsed: what the runtime cannot
/// render is an error.
Result<std::string> readChatTemplate(const std::string &directory);

/// Texts of the special tokens that DIR/tokenizer_config.json names, which chat templates see as variables:
/// pairs such as {"eos_token", "<|im_end|>"}. Empty without that file.
Result<std::vector<std::pair<std::string, std::string>>> readSpecialTokens(const std::string &directory);

} // namespace qwench::hf
