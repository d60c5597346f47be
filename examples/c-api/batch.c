/* Continues several prompts at once with a compiled model: batch COUNT WEIGHTS|- IDS IDS...
 *
 * IDS are token ids with commas between; WEIGHTS as in greedy.c. Every step decodes a token of each prompt, which reads the
 * weights once for all. Prints a line of new ids for each prompt, as `OUT generate --tokens IDS --tokens IDS --greedy --ids`
 * does. */
#include "qwench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of one sequence: a prompt, then what follows it. */
typedef struct Text {
  int32_t *ids;
  int count, prompt;
} Text;

static int fail(const char *what) {
  fprintf(stderr, "batch: %s: %s\n", what, qwench_last_error());
  return 1;
}

/* Called with every token as it is drawn; a text could also be ended here, with 0. */
static int append(void *user, int32_t sequence, int32_t token) {
  Text *text = (Text *)user + sequence;
  text->ids[text->count++] = token;
  return 1;
}

/* Ids with commas between, and room for `more`. */
static Text parse(const char *list, int more) {
  int count = 1;
  for (const char *c = list; *c; c++)
    count += *c == ',';
  Text text = {malloc(sizeof(int32_t) * (size_t)(count + more)), 0, 0};
  for (char *end = NULL; text.ids && text.count < count; list = end + (*end == ','))
    text.ids[text.count++] = (int32_t)strtol(list, &end, 10);
  text.prompt = text.count;
  return text;
}

static int continue_texts(QwenchSession *session, Text *texts, int32_t count, int more) {
  const QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  int32_t *sequences = malloc(sizeof *sequences * (size_t)count);
  if (!sequences)
    return 1;
  int status = 0;
  for (int32_t i = 0; i < count && !status; i++) {
    sequences[i] = i;
    status = qwench_prefill(session, i, texts[i].ids, texts[i].prompt) ? fail("prefill") : 0;
  }
  if (!status && qwench_generate(session, sequences, count, &greedy, more, append, texts))
    status = fail("generate");
  for (int32_t i = 0; i < count && !status; i++)
    for (int at = texts[i].prompt; at < texts[i].count; at++)
      printf("%d%s", texts[i].ids[at], at + 1 < texts[i].count ? "," : "\n");
  free(sequences);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: batch COUNT WEIGHTS|- IDS IDS...\n");
    return 1;
  }
  const int more = atoi(argv[1]), count = argc - 3;
  Text *texts = calloc((size_t)count, sizeof *texts);
  if (!texts || more < 1)
    return 1;

  QwenchOptions options = QWENCH_OPTIONS_INIT;
  options.sequences = count;
  for (int i = 0; i < count; i++) {
    texts[i] = parse(argv[3 + i], more);
    if (!texts[i].ids)
      return 1;
    if (options.context < texts[i].prompt + more)
      options.context = texts[i].prompt + more;
  }
  if (strcmp(argv[2], "-"))
    options.bundle = argv[2];
  QwenchSession *session;
  if (qwench_open(&options, &session))
    return fail("open");
  const int status = continue_texts(session, texts, count, more);
  qwench_close(session);
  for (int i = 0; i < count; i++)
    free(texts[i].ids);
  free(texts);
  return status;
}
