// Renders a Modelfile's TEMPLATE as Ollama does: text/template over its variables.
// stdin: {"template": …, "messages": […], "system": …, "think": null|bool, "tools": […]}
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

type arguments map[string]any

func (a arguments) String() string {
	text, _ := json.Marshal(map[string]any(a))
	return string(text)
}

type toolCall struct {
	Function struct {
		Name      string
		Arguments arguments
	}
}

type message struct {
	Role, Content, Thinking string
	ToolCalls               []toolCall
}

type tool struct{ Function json.RawMessage }

func main() {
	var in struct {
		Template, System string
		Messages         []message
		Think            *bool
		Tools            []tool
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		panic(err)
	}
	tools := []map[string]any{}
	for _, t := range in.Tools {
		tools = append(tools, map[string]any{"Function": string(t.Function)})
	}
	values := map[string]any{
		"System":     in.System,
		"Messages":   in.Messages,
		"Tools":      tools,
		"IsThinkSet": in.Think != nil,
		"Think":      in.Think != nil && *in.Think,
	}
	parsed := template.Must(template.New("").Parse(in.Template))
	if err := parsed.Execute(os.Stdout, values); err != nil {
		panic(err)
	}
}
