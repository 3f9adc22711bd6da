"""`python -m qwen3_trainer export`: a committed adapter as a 16-bit model and as GGUF files, on a
CPU.

run.py         order of the steps          modelfile.py  what Ollama is told
artifacts.py   files to EXPORT.json        ../worker/merging.py, ../worker/gguf.py  the work itself
"""
