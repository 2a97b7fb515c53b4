"""PaddleNLP's Qwen2 models; nothing else imports paddlenlp."""
