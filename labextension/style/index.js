import './base.css';
import './document.css';
import './files.css';
import './dataset.css';
