//! The commands of a script, as far as pages write scripts: words, quotes, substitutions, redirections and here-documents. It does not
//! expand anything, and must not know what a command means.

use std::{iter::Peekable, str::Chars};

/// Words before which, or behind which, a command stands.
const KEYWORDS: [&str; 9] = ["until", "while", "if", "then", "do", "else", "!", "{", "}"];

#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Program and arguments, those in substitutions included.
    pub(crate) commands: Vec<Vec<String>>,
    /// The word that ends a here-document, and its text.
    pub(crate) documents: Vec<(String, String)>,
}

pub(crate) fn read(text: &str) -> Script {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        script: Script::default(),
        words: Vec::new(),
        word: None,
        next: Next::Word,
        awaited: Vec::new(),
    };
    reader.run(false);
    reader.script
}

/// What the next word is.
enum Next {
    Word,
    /// A file that is read or written.
    File,
    /// What ends a here-document.
    End,
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    script: Script,
    words: Vec<String>,
    word: Option<String>,
    next: Next,
    awaited: Vec<String>,
}

impl Reader<'_> {
    /// Reads to the end, or of a substitution to its bracket.
    fn run(&mut self, substitution: bool) {
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => match self.chars.next() {
                    Some('\n') | None => {}
                    Some(c) => self.push(c),
                },
                '\'' => self.quoted('\''),
                '"' => self.quoted('"'),
                '$' => self.dollar(),
                '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
                ' ' | '\t' => self.end_word(),
                '\n' => {
                    self.end_command();
                    self.documents();
                }
                ')' if substitution => break,
                ';' | '|' | '&' | '(' | ')' => self.end_command(),
                '<' | '>' => self.redirect(c),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(c) = self.chars.next().filter(|c| *c != quote) {
            match c {
                '$' if quote == '"' => self.dollar(),
                '\\' if quote == '"' => self.chars.next().into_iter().for_each(|c| self.push(c)),
                c => self.push(c),
            }
        }
    }

    /// A substitution is a command of its own; in the word it is one of unknown text, as a variable is.
    fn dollar(&mut self) {
        self.push('$');
        if self.chars.next_if_eq(&'(').is_some() {
            let outer = (std::mem::take(&mut self.words), self.word.take());
            self.run(true);
            (self.words, self.word) = outer;
        }
    }

    fn redirect(&mut self, c: char) {
        // The number of a file that is open.
        if self
            .word
            .as_ref()
            .is_some_and(|w| w.bytes().all(|b| b.is_ascii_digit()))
        {
            self.word = None;
        }
        self.end_word();
        self.next = match (c, self.chars.next_if(|c| matches!(*c, '<' | '>' | '&'))) {
            ('<', Some('<')) => Next::End,
            _ => Next::File,
        };
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match std::mem::replace(&mut self.next, Next::Word) {
            Next::Word => self.words.push(word),
            Next::File => {}
            Next::End => self.awaited.push(word),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        let assigns = |word: &String| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            })
        };
        let words = std::mem::take(&mut self.words).into_iter();
        let command: Vec<String> = words
            .skip_while(|word| KEYWORDS.contains(&word.as_str()) || assigns(word))
            .collect();
        if !command.is_empty() {
            self.script.commands.push(command);
        }
    }

    fn documents(&mut self) {
        for end in std::mem::take(&mut self.awaited) {
            let mut text = String::new();
            loop {
                let mut line = String::new();
                while let Some(c) = self.chars.next_if(|c| *c != '\n') {
                    line.push(c);
                }
                if self.chars.next().is_none() || line == end {
                    break;
                }
                text.push_str(&line);
                text.push('\n');
            }
            self.script.documents.push((end, text));
        }
    }
}

#[test]
fn scripts_are_read_as_a_shell_reads_them() {
    let text = r#"make plugins && export PATH=$PWD/bin:$PATH   # a comment
A=$(cat a.token) tradewind serve --listen 127.0.0.1:0 > $DATA/log 2>&1 &
until [ -f $DATA/daemon.json ]; do sleep 1; done
kill -9 $(tradewind describe hello | awk '$1 == "web/0" { print $3 }')
cat > a.yaml <<'YAML'
a: "b"  # not a comment of the script
YAML
(umask 077; printf 's3cret\n' > "$DATA/db file")
tradewind plan -f a.yaml \
  --out "two words" >out.json"#;
    let script = read(text);
    let commands: Vec<String> = script.commands.iter().map(|c| c.join("|")).collect();
    assert_eq!(
        commands,
        [
            "make|plugins",
            "export|PATH=$PWD/bin:$PATH",
            "cat|a.token",
            "tradewind|serve|--listen|127.0.0.1:0",
            "[|-f|$DATA/daemon.json|]",
            "sleep|1",
            "done",
            "tradewind|describe|hello",
            "awk|$1 == \"web/0\" { print $3 }",
            "kill|-9|$",
            "cat",
            "umask|077",
            "printf|s3cret\\n",
            "tradewind|plan|-f|a.yaml|--out|two words",
        ]
    );
    let document = "a: \"b\"  # not a comment of the script\n".to_owned();
    assert_eq!(script.documents, [("YAML".to_owned(), document)]);
}
