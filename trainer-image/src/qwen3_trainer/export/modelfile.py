"""Ollama's Modelfile for a Qwen3 of one's own. Pure.

TEMPLATE is Qwen3's chat template in Go's text/template over Ollama's variables; a test renders both
and compares. Sampling parameters are the Qwen3 team's, by thinking or not (facts of the model
cards); greedy decoding makes thinking models repeat themselves.
"""

from typing import Literal

from qwen3_api.families.qwen3 import EMPTY_THINK, TURN_END, TURN_START

Thinking = Literal["AsInData", "Enabled", "Disabled"]

STOP = (TURN_START, TURN_END)
THINKING_SAMPLING = {"temperature": "0.6", "top_p": "0.95", "top_k": "20", "min_p": "0"}
PLAIN_SAMPLING = {"temperature": "0.7", "top_p": "0.8", "top_k": "20", "min_p": "0"}

_TEMPLATE = """\
{{- $lastUser := -1 }}{{ $previous := "" }}
{{- range $i, $message := .Messages }}
{{- if eq $message.Role "user" }}{{ $lastUser = $i }}{{ end }}
{{- end }}
{{- if or .System .Tools }}<|im_start|>system
{{ if .System }}{{ .System }}{{ end }}
{{- if .Tools }}{{ if .System }}

{{ end }}# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $message := .Messages }}
{{- $rest := slice $.Messages $i }}
{{- $last := eq (len $rest) 1 }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if and (gt $i $lastUser) (or $last .Thinking) }}<think>
{{ .Thinking }}
</think>

{{ end }}{{ .Content }}
{{- range $call, $_ := .ToolCalls }}{{ if or $call $message.Content }}
{{ end }}<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}
{{- if ne $previous "tool" }}<|im_start|>user{{ end }}
<tool_response>
{{ .Content }}
</tool_response>
{{- if or $last (ne (index $rest 1).Role "tool") }}<|im_end|>
{{ end }}
{{- end }}
{{- $previous = .Role }}
{{- if and $last (ne .Role "assistant") }}<|im_start|>assistant
GENERATION{{ end }}
{{- end }}"""

_CHOICE = f"{{{{ if and $.IsThinkSet (not $.Think) }}}}{EMPTY_THINK}{{{{ end }}}}"


def render_modelfile(gguf: str, thinking: Thinking) -> str:
    """The Modelfile beside a GGUF file of this name.

    A model that learnt with thinking switched off is always asked that way; any other one as the
    caller of Ollama says (`think`).
    """
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{render_template(thinking)}"""']
    lines += [f'PARAMETER stop "{token}"' for token in STOP]
    sampling = PLAIN_SAMPLING if thinking == "Disabled" else THINKING_SAMPLING
    lines += [f"PARAMETER {name} {value}" for name, value in sampling.items()]
    return "\n".join(lines) + "\n"


def render_template(thinking: Thinking) -> str:
    """The template alone."""
    generation = EMPTY_THINK if thinking == "Disabled" else _CHOICE
    return _TEMPLATE.replace("GENERATION", generation)
